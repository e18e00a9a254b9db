//! Queries to a Parquet file: each opens it, and reads as little as the format allows.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use parquet::bloom_filter::Sbbf;
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, Int64Type,
};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use spandrel_proto::TraceId;

fn open(path: &Path) -> (File, SerializedFileReader<File>) {
    let file = File::open(path).expect("the file");
    let options = ReadOptionsBuilder::new().with_page_index().build();
    let again = file.try_clone().expect("the file");
    (again, SerializedFileReader::new_with_options(file, options).expect("a table"))
}

/// Reads all columns of a trace; returns the number of values.
pub fn by_id(path: &Path, id: TraceId) -> usize {
    let (file, reader) = open(path);
    groups_with(&file, &reader, 0, id.as_bytes()).find_map(|group| trace_in(&reader, group, id)).unwrap_or(0)
}

/// Finds the trace of the first span whose attribute has a value, and reads it.
pub fn by_value(path: &Path, column: usize, value: &str) -> Option<TraceId> {
    let (file, reader) = open(path);
    groups_with(&file, &reader, column, value.as_bytes()).find_map(|number| {
        let group = reader.get_row_group(number).expect("a row group");
        let rows = group.metadata().num_rows() as usize;
        let row = first_row(group.get_column_reader(column).expect("a column"), rows, value)?;
        let trace = trace_at(&*group, row);
        trace_in(&reader, number, trace).map(|_| trace)
    })
}

/// Decodes every value of every column; returns the number of rows.
pub fn read_all(path: &Path) -> usize {
    let (_, reader) = open(path);
    let groups = reader.metadata().num_row_groups();
    let read = |number| {
        let group = reader.get_row_group(number).expect("a row group");
        let rows = group.metadata().num_rows() as usize;
        let values: usize = (0..group.num_columns()).map(|column| read_rows(&*group, column, 0..rows)).sum();
        assert!(values >= rows);
        rows
    };
    (0..groups).map(read).sum()
}

/// Row groups whose bloom filter does not exclude a value.
fn groups_with<'r>(
    file: &'r File,
    reader: &'r SerializedFileReader<File>,
    column: usize,
    value: &'r [u8],
) -> impl Iterator<Item = usize> + 'r {
    (0..reader.metadata().num_row_groups()).filter(move |group| {
        let metadata = reader.metadata().row_group(*group).column(column);
        let filter = Sbbf::read_from_column_chunk(metadata, file).expect("a filter");
        filter.is_none_or(|filter| filter.check(value))
    })
}

/// Finds the rows of a trace in the first column, by which rows are sorted, and reads only their pages.
fn trace_in(reader: &SerializedFileReader<File>, number: usize, id: TraceId) -> Option<usize> {
    let group = reader.get_row_group(number).expect("a row group");
    let pages = pages_of(reader, number, id);
    let mut traces = Vec::new();
    let column = group.get_column_reader(0).expect("a column");
    let mut column = get_typed_column_reader::<FixedLenByteArrayType>(column);
    column.skip_records(pages.start).expect("rows");
    column.read_records(pages.len(), None, None, &mut traces).expect("rows");
    let first = traces.iter().position(|trace| trace.data() == id.as_bytes())?;
    let count = traces[first..].iter().take_while(|trace| trace.data() == id.as_bytes()).count();
    let rows = pages.start + first..pages.start + first + count;
    Some((0..group.num_columns()).map(|column| read_rows(&*group, column, rows.clone())).sum())
}

/// The rows of the pages that may hold a trace, by the page index.
fn pages_of(reader: &SerializedFileReader<File>, group: usize, id: TraceId) -> Range<usize> {
    use parquet::file::page_index::column_index::ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY;
    let rows = reader.metadata().row_group(group).num_rows() as usize;
    let pages = reader.metadata().page_index_for_row_group(group);
    let (Some(columns), Some(offsets)) = (pages.column_index(0), pages.offset_index(0)) else {
        return 0..rows;
    };
    let FIXED_LEN_BYTE_ARRAY(index) = columns else { return 0..rows };
    let locations = offsets.page_locations();
    let bytes: &[u8] = id.as_bytes();
    let may_hold = |page: &usize| {
        let below = index.max_value(*page).is_some_and(|max| max < bytes);
        let above = index.min_value(*page).is_some_and(|min| min > bytes);
        !below && !above
    };
    let Some(first) = (0..locations.len()).find(may_hold) else { return 0..0 };
    let last = (first..locations.len()).take_while(may_hold).last().unwrap_or(first);
    let end = locations.get(last + 1).map_or(rows, |page| page.first_row_index as usize);
    locations[first].first_row_index as usize..end
}

fn trace_at(group: &dyn RowGroupReader, row: usize) -> TraceId {
    let mut found = Vec::new();
    let column = group.get_column_reader(0).expect("a column");
    let mut column = get_typed_column_reader::<FixedLenByteArrayType>(column);
    column.skip_records(row).expect("rows");
    column.read_records(1, None, None, &mut found).expect("a row");
    TraceId::from_wire(found[0].data()).expect("an ID")
}

fn first_row(column: ColumnReader, rows: usize, value: &str) -> Option<usize> {
    let mut column = get_typed_column_reader::<ByteArrayType>(column);
    let (mut values, mut present): (Vec<ByteArray>, Vec<i16>) = (Vec::new(), Vec::new());
    column.read_records(rows, Some(&mut present), None, &mut values).expect("rows");
    let at = values.iter().position(|known| known.data() == value.as_bytes())?;
    present.iter().enumerate().filter(|(_, level)| **level > 0).nth(at).map(|(row, _)| row)
}

fn read_rows(group: &dyn RowGroupReader, column: usize, rows: Range<usize>) -> usize {
    match group.get_column_reader(column).expect("a column") {
        ColumnReader::ByteArrayColumnReader(reader) => read::<ByteArrayType>(reader, rows),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => read::<FixedLenByteArrayType>(reader, rows),
        ColumnReader::Int64ColumnReader(reader) => read::<Int64Type>(reader, rows),
        ColumnReader::DoubleColumnReader(reader) => read::<DoubleType>(reader, rows),
        ColumnReader::BoolColumnReader(reader) => read::<BoolType>(reader, rows),
        _ => unreachable!("the schema has no other types"),
    }
}

fn read<T: DataType>(mut reader: parquet::column::reader::ColumnReaderImpl<T>, rows: Range<usize>) -> usize {
    let (mut values, mut present) = (Vec::new(), Vec::new());
    reader.skip_records(rows.start).expect("rows");
    reader.read_records(rows.len(), Some(&mut present), None, &mut values).expect("rows");
    std::hint::black_box(values.len())
}
