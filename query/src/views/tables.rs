//! Shows tables to judges and folds as a role sees them: rows that are hidden from it are left out, and values that are
//! hidden are replaced.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use spandrel_proto::TimeRange;
use spandrel_proto::UnixNanos;
use spandrel_storage::plan::Predicate;
use spandrel_storage::table::{
    Classes, Codes, ColumnName, ListId, SpanTable, TableFold, TraceJudge, Value, ValueColumn, Verdict,
};

use super::mask::Masker;

/// What a role sees of the tables of one question.
#[derive(Debug, Clone)]
pub(super) struct TableView {
    pub(super) masker: Arc<Masker>,
    /// Rows that do not satisfy it are hidden; decided on what was sent.
    pub(super) visible: Predicate,
    /// Of the visible rows, those of the question; decided on what the role sees. A trace without such a row in the range
    /// is left out as a whole.
    pub(super) asked: Predicate,
    pub(super) range: TimeRange,
    /// Whether rows that are visible and not asked for are left out, too.
    pub(super) only_asked: bool,
    /// The columns of the tables: first those that the question reads, then those of the predicates.
    pub(super) columns: Vec<ColumnName>,
    /// Whether each of them is hidden by its key.
    pub(super) hidden: Vec<bool>,
    /// How many of them the question reads.
    pub(super) read: usize,
}

/// A table as the role sees it.
struct Seen {
    table: SpanTable,
    /// The rows of the whole table that it has.
    rows: Vec<u32>,
}

/// Changes the values of columns, and remembers what it has changed.
#[derive(Default)]
struct Changes {
    lists: FxHashMap<ListId, Changed>,
    classes: Option<(Arc<Classes>, Arc<Classes>)>,
}

/// A list of values as the role sees it: each value once.
struct Changed {
    list: ListId,
    values: Arc<Vec<Value>>,
    /// By code of the list as stored.
    codes: Vec<u32>,
    /// The codes of those values that a change may make once more.
    repeatable: FxHashMap<String, u32>,
}

/// A judge behind the view of a role.
pub(super) struct SeeingJudge<'j> {
    view: TableView,
    changes: Changes,
    judge: &'j mut dyn TraceJudge,
}

/// A fold behind the view of a role.
pub(super) struct SeeingFold<'f> {
    view: TableView,
    changes: Changes,
    fold: &'f mut dyn TableFold,
}

/// Accepts the traces that it sees, for the rows that were asked for.
pub(super) struct AskedRows {
    view: TableView,
    changes: Changes,
}

// === impl TableView ===

impl TableView {
    /// `None` if the role sees none of the rows.
    fn see(&self, table: &SpanTable, changes: &mut Changes) -> Option<Seen> {
        let visible = self.visible.rows(table, &self.columns);
        let masked = self.mask(table, changes);
        let asked = self.asked.rows(&masked, &self.columns);
        let in_range = |row: usize| asked[row] && self.range.contains(UnixNanos(table.start[row]));
        let mut rows = Vec::new();
        let mut traces = Vec::with_capacity(table.traces.len());
        let mut begin = 0;
        for (trace, end) in &table.traces {
            let of_trace = begin..*end as usize;
            begin = *end as usize;
            if of_trace.clone().any(|row| visible[row] && in_range(row)) {
                let shown = |row: &usize| visible[*row] && (!self.only_asked || in_range(*row));
                rows.extend(of_trace.filter(shown).map(|row| row as u32));
                traces.push((*trace, rows.len() as u32));
            }
        }
        if rows.is_empty() {
            return None;
        }
        let mut seen = match rows.len() == table.rows() {
            true => masked,
            false => taken(&masked, &rows, traces),
        };
        seen.columns.truncate(self.read);
        Some(Seen { table: seen, rows })
    }

    fn mask(&self, table: &SpanTable, changes: &mut Changes) -> SpanTable {
        let mut seen = table.clone();
        if self.masker.has_detectors() {
            seen.classes = changes.classes(&self.masker, &table.classes);
        }
        for (is_hidden, column) in self.hidden.iter().zip(&mut seen.columns) {
            if *is_hidden {
                *column = ValueColumn::default();
            } else if self.masker.has_detectors() {
                changes.column(&self.masker, column);
            }
            if column.values.is_empty() {
                column.codes = Codes::Few { rows: Arc::default(), codes: Vec::new() };
            }
        }
        seen
    }
}

/// Some rows of a table.
fn taken(table: &SpanTable, rows: &[u32], traces: Vec<(spandrel_proto::TraceId, u32)>) -> SpanTable {
    let of = |all: &[u64]| match all.is_empty() {
        true => Vec::new(),
        false => rows.iter().map(|row| all[*row as usize]).collect(),
    };
    let column =
        |column: &ValueColumn| ValueColumn { codes: codes_of(&column.codes, rows), ..column.clone() };
    SpanTable {
        traces,
        class: rows.iter().map(|row| table.class[*row as usize]).collect(),
        classes: table.classes.clone(),
        start: of(&table.start),
        duration: of(&table.duration),
        span_id: of(&table.span_id),
        parent_id: of(&table.parent_id),
        columns: table.columns.iter().map(column).collect(),
    }
}

/// The codes of some rows.
fn codes_of(codes: &Codes, rows: &[u32]) -> Codes {
    match codes {
        Codes::One(all) => Codes::One(rows.iter().map(|row| all[*row as usize]).collect()),
        Codes::Grouped { groups, codes } => {
            let groups = rows.iter().map(|row| groups[*row as usize]).collect();
            Codes::Grouped { groups: Arc::new(groups), codes: codes.clone() }
        }
        Codes::Few { .. } => {
            let code = |row: &u32| codes.of_row(*row as usize).next().map_or(0, |code| code as u32 + 1);
            Codes::One(rows.iter().map(code).collect())
        }
        Codes::Many { .. } => {
            let (mut ends, mut kept) = (Vec::with_capacity(rows.len()), Vec::new());
            for row in rows {
                kept.extend(codes.of_row(*row as usize).map(|code| code as u32));
                ends.push(kept.len() as u32);
            }
            Codes::Many { ends, codes: kept }
        }
    }
}

// === impl Changes ===

impl Changes {
    fn column(&mut self, masker: &Masker, column: &mut ValueColumn) {
        let known = match column.list {
            Some(list) => self.lists.entry(list).or_insert_with(Changed::new),
            None => &mut Changed::new(),
        };
        known.extend(masker, &column.values);
        column.values = known.values.clone();
        column.codes = known.codes(&column.codes);
        column.list = column.list.map(|_| known.list);
    }

    fn classes(&mut self, masker: &Masker, classes: &Arc<Classes>) -> Arc<Classes> {
        if let Some((stored, seen)) = &self.classes
            && Arc::ptr_eq(stored, classes)
        {
            return seen.clone();
        }
        let (services, service_places) = changed_names(masker, &classes.services);
        let (names, name_places) = changed_names(masker, &classes.names);
        let mut seen = Classes { services, names, classes: classes.classes.clone() };
        for class in &mut seen.classes {
            class.service = service_places[class.service as usize];
            class.name = name_places[class.name as usize];
        }
        let seen = Arc::new(seen);
        self.classes = Some((classes.clone(), seen.clone()));
        seen
    }
}

/// Names as the role sees them, each once, and for each of the stored ones its place among them.
fn changed_names(masker: &Masker, stored: &[String]) -> (Vec<String>, Vec<u32>) {
    let (mut names, mut places, mut known) = (Vec::new(), Vec::new(), FxHashMap::default());
    for name in stored {
        let seen = masker.text(name).unwrap_or_else(|| name.clone());
        let place = *known.entry(seen.clone()).or_insert_with(|| {
            names.push(seen);
            names.len() as u32 - 1
        });
        places.push(place);
    }
    (names, places)
}

// === impl Changed ===

impl Changed {
    fn new() -> Self {
        Self {
            list: ListId::unique(),
            values: Arc::default(),
            codes: Vec::new(),
            repeatable: FxHashMap::default(),
        }
    }

    /// Adds the values that the list has got since.
    fn extend(&mut self, masker: &Masker, stored: &[Value]) {
        for value in stored.iter().skip(self.codes.len()) {
            let seen = masker.value(value).unwrap_or_else(|| value.clone());
            let next = self.values.len() as u32;
            let code = match may_repeat(&seen) {
                // The text of a value says all of it.
                true => *self.repeatable.entry(format!("{seen:?}")).or_insert(next),
                false => next,
            };
            if code == next {
                Arc::make_mut(&mut self.values).push(seen);
            }
            self.codes.push(code);
        }
    }

    fn codes(&self, stored: &Codes) -> Codes {
        let one = |codes: &[u32]| -> Vec<u32> {
            let code = |code: &u32| code.checked_sub(1).map_or(0, |code| self.codes[code as usize] + 1);
            codes.iter().map(code).collect()
        };
        match stored {
            Codes::One(codes) => Codes::One(one(codes)),
            Codes::Few { rows, codes } => Codes::Few { rows: rows.clone(), codes: one(codes) },
            Codes::Grouped { groups, codes } => Codes::Grouped { groups: groups.clone(), codes: one(codes) },
            Codes::Many { ends, codes } => {
                let codes = codes.iter().map(|code| self.codes[*code as usize]).collect();
                Codes::Many { ends: ends.clone(), codes }
            }
        }
    }
}

/// Values differ as stored, so that only those are equal which a change has made: they hold a placeholder, or nothing.
fn may_repeat(seen: &Value) -> bool {
    match seen {
        Value::String(text) => text.contains('['),
        Value::Array(_) | Value::Empty => true,
        _ => false,
    }
}

// === impl SeeingJudge ===

impl<'j> SeeingJudge<'j> {
    pub(super) fn new(view: TableView, judge: &'j mut dyn TraceJudge) -> Self {
        Self { view, changes: Changes::default(), judge }
    }
}

impl TraceJudge for SeeingJudge<'_> {
    fn judge(&mut self, table: &SpanTable) -> Vec<Verdict> {
        let Some(Seen { table: seen, rows }) = self.view.see(table, &mut self.changes) else {
            return vec![Verdict::No; table.traces.len()];
        };
        let mut of_seen = self.judge.judge(&seen).into_iter();
        let mut seen = seen.traces.iter().peekable();
        let mut verdicts = Vec::with_capacity(table.traces.len());
        for (trace, _) in &table.traces {
            if seen.next_if(|(other, _)| other == trace).is_none() {
                verdicts.push(Verdict::No);
                continue;
            }
            match of_seen.next() {
                Some(Verdict::Matches(matched)) => {
                    let stored = matched.iter().filter_map(|row| rows.get(*row as usize).copied());
                    verdicts.push(Verdict::Matches(stored.collect()));
                }
                Some(Verdict::No) => verdicts.push(Verdict::No),
                Some(Verdict::Stop) | None => {
                    verdicts.push(Verdict::Stop);
                    return verdicts;
                }
            }
        }
        verdicts
    }

    fn show(&mut self, table: &SpanTable) -> bool {
        match self.view.see(table, &mut self.changes) {
            Some(Seen { table, .. }) => self.judge.show(&table),
            None => true,
        }
    }
}

// === impl SeeingFold ===

impl<'f> SeeingFold<'f> {
    pub(super) fn new(view: TableView, fold: &'f mut dyn TableFold) -> Self {
        Self { view, changes: Changes::default(), fold }
    }
}

impl TableFold for SeeingFold<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        match self.view.see(table, &mut self.changes) {
            Some(Seen { table, .. }) => self.fold.add(&table),
            None => true,
        }
    }
}

// === impl AskedRows ===

impl AskedRows {
    pub(super) fn new(view: TableView) -> Self {
        Self { view: TableView { only_asked: true, ..view }, changes: Changes::default() }
    }
}

impl TraceJudge for AskedRows {
    fn judge(&mut self, table: &SpanTable) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::No; table.traces.len()];
        let Some(Seen { table: seen, rows }) = self.view.see(table, &mut self.changes) else {
            return verdicts;
        };
        let mut begin = 0;
        for (trace, end) in &seen.traces {
            let of_trace = &rows[begin..*end as usize];
            begin = *end as usize;
            if let Some(at) = table.traces.iter().position(|(other, _)| other == trace) {
                verdicts[at] = Verdict::Matches(of_trace.to_vec());
            }
        }
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use spandrel_proto::{Detector, Mask, TraceId};
    use spandrel_storage::RowFlags;
    use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal};
    use spandrel_storage::table::{AttributeLevel, SpanClass};

    use super::*;

    const USER: &str = "user";

    fn column(key: &str) -> ColumnName {
        ColumnName::Attribute(AttributeLevel::Span, key.to_owned())
    }

    fn equals(key: &str, value: &str) -> Predicate {
        let field = Field::Attribute(AttributeScope::Span, key.to_owned());
        Predicate::Compare(field, Comparison::Eq(Literal::String(value.to_owned())))
    }

    /// Two traces of two rows each; users by row: two mail addresses, none, a plain one.
    fn table() -> SpanTable {
        let values =
            ["ada@example.org", "bob@example.org", "carol"].map(|text| Value::String(text.to_owned()));
        SpanTable {
            traces: vec![(TraceId::from_bytes([1; 16]), 2), (TraceId::from_bytes([2; 16]), 4)],
            class: vec![0, 1, 1, 0],
            classes: Arc::new(Classes {
                services: vec!["cart".to_owned()],
                names: vec!["send to ada@example.org".to_owned(), "list".to_owned()],
                classes: vec![
                    SpanClass { service: 0, name: 0, flags: RowFlags(0) },
                    SpanClass { service: 0, name: 1, flags: RowFlags(0) },
                ],
            }),
            start: vec![1, 2, 3, 4],
            duration: vec![1; 4],
            columns: vec![ValueColumn {
                values: Arc::new(values.to_vec()),
                codes: Codes::One(vec![1, 2, 0, 3]),
                list: Some(ListId::unique()),
            }],
            ..SpanTable::default()
        }
    }

    fn view(visible: Predicate, asked: Predicate, mask: Mask) -> TableView {
        let masker = Arc::new(Masker::new(&mask));
        let (columns, hidden) = (vec![column(USER)], vec![masker.hides_key(USER)]);
        let (range, only_asked) = (TimeRange::ALL, false);
        TableView { masker, visible, asked, range, only_asked, columns, hidden, read: 1 }
    }

    fn users(seen: &SpanTable) -> Vec<Option<&Value>> {
        let column = &seen.columns[0];
        (0..seen.rows()).map(|row| column.codes.of_row(row).next().map(|code| &column.values[code])).collect()
    }

    fn mails() -> Mask {
        Mask { detectors: vec![Detector::Mail], ..Mask::default() }
    }

    #[test]
    fn values_that_are_hidden_are_one() {
        let view = view(Predicate::All, Predicate::All, mails());
        let mut changes = Changes::default();
        for _ in 0..2 {
            let seen = view.see(&table(), &mut changes).unwrap().table;
            let mail = Value::String("[mail]".to_owned());
            let carol = Value::String("carol".to_owned());
            assert_eq!(users(&seen), [Some(&mail), Some(&mail), None, Some(&carol)]);
            assert_eq!(
                (seen.columns[0].values.len(), seen.name(0), seen.name(1)),
                (2, "send to [mail]", "list")
            );
        }
    }

    #[test]
    fn a_stored_value_that_reads_like_a_placeholder_is_the_same_value() {
        let stored = ["[mail]", "ada@example.org", "bob@example.org", "carol"];
        let stored: Vec<Value> = stored.map(|text| Value::String(text.to_owned())).to_vec();
        let mut changed = Changed::new();
        changed.extend(&Masker::new(&mails()), &stored[..2]);
        changed.extend(&Masker::new(&mails()), &stored);
        assert_eq!((changed.codes, changed.values.len()), (vec![0, 0, 0, 1], 2));
    }

    #[test]
    fn a_hidden_key_has_no_value() {
        let mask = Mask { keys: vec![USER.to_owned()], ..Mask::default() };
        let seen =
            view(Predicate::All, Predicate::All, mask).see(&table(), &mut Changes::default()).unwrap().table;
        assert_eq!(users(&seen), [None; 4]);
    }

    #[test]
    fn hidden_rows_and_traces_are_left_out() {
        let seen = |visible, asked| {
            let view = view(visible, asked, mails());
            view.see(&table(), &mut Changes::default()).map(|seen| (seen.rows, seen.table.traces))
        };
        let (one, two) = (TraceId::from_bytes([1; 16]), TraceId::from_bytes([2; 16]));
        let visible = Predicate::Or(vec![equals(USER, "ada@example.org"), equals(USER, "carol")]);
        assert_eq!(seen(visible.clone(), Predicate::All), Some((vec![0, 3], vec![(one, 1), (two, 2)])));
        assert_eq!(seen(visible.clone(), equals(USER, "[mail]")), Some((vec![0], vec![(one, 1)])));
        assert_eq!(seen(visible, equals(USER, "ada@example.org")), None, "it cannot be guessed");
    }

    struct Recorder(Vec<usize>);

    impl TraceJudge for Recorder {
        fn judge(&mut self, table: &SpanTable) -> Vec<Verdict> {
            self.0.push(table.rows());
            table.traces.iter().map(|_| Verdict::Matches(vec![0])).collect()
        }
    }

    #[test]
    fn verdicts_are_about_the_rows_as_stored() {
        let mut recorder = Recorder(Vec::new());
        let view = view(equals(USER, "carol"), Predicate::All, Mask::default());
        let verdicts = SeeingJudge::new(view.clone(), &mut recorder).judge(&table());
        assert_eq!(verdicts, [Verdict::No, Verdict::Matches(vec![3])]);
        assert_eq!(recorder.0, [1]);
        assert_eq!(AskedRows::new(view).judge(&table()), [Verdict::No, Verdict::Matches(vec![3])]);
    }
}
