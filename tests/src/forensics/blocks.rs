//! The content of a block, in any format and encoding: its spans as they were sent, with their resources and scopes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use spandrel_block::{
    CorePage, Dictionary, Header, IdsPage, OpenPage, Rebuilder, Section, SectionKind, TextTable, TraceTable,
    ValuesPage, upgrade, verify,
};

/// The content as one run of bytes; `None` unless the bytes are a whole block.
pub(super) fn says(bytes: Vec<u8>) -> Option<Vec<u8>> {
    let mut bytes = Bytes::from(bytes);
    if !Header::parse(&bytes).ok()?.is_columnar() {
        bytes = upgrade(&bytes).ok()?.bytes;
    }
    let traces = verify(bytes.clone()).ok()?.traces;
    Open { header: Header::parse(&bytes).ok()?, bytes }.spans(&traces)
}

struct Open {
    bytes: Bytes,
    header: Header,
}

// === impl Open ===

impl Open {
    fn section(&self, section: &Section) -> Option<Bytes> {
        let Range { start, end } = section.range();
        section.decode(self.bytes.slice(start as usize..end as usize)).ok()
    }

    fn one(&self, kind: SectionKind) -> Option<Bytes> {
        self.section(self.header.section(kind).ok()?)
    }

    fn spans(&self, traces: &TraceTable) -> Option<Vec<u8>> {
        let dictionary = Arc::new(Dictionary::decode(self.one(SectionKind::Dictionary)?).ok()?);
        let texts = Arc::new(TextTable::decode(&self.one(SectionKind::Texts)?).ok()?);
        let mut said: Vec<u8> = [&dictionary.resources[..], &dictionary.scopes].concat().concat();
        let mut traces = traces.of_rows();
        let [cores, ids, values] =
            [SectionKind::Core, SectionKind::Ids, SectionKind::Values].map(|kind| self.header.pages(kind));
        for ((core, ids), values) in cores.iter().zip(ids).zip(values) {
            let core = Arc::new(CorePage::decode(&self.section(core)?, &dictionary).ok()?);
            let ids = Arc::new(IdsPage::decode(&self.section(ids)?, core.rows()).ok()?);
            let values = Arc::new(ValuesPage::open(self.section(values)?, &core, &dictionary).ok()?);
            let rows = core.rows();
            let page = OpenPage { dictionary: dictionary.clone(), texts: texts.clone(), core, ids, values };
            let mut spans = Rebuilder::new(page, 0);
            for trace in traces.by_ref().take(rows) {
                spans.next(trace, &mut said).ok()?;
            }
        }
        Some(said)
    }
}
