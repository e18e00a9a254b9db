use bytes::Bytes;
use spandrel_block::*;
use spandrel_proto::otlp::*;
use spandrel_proto::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let per: usize = std::env::args().nth(2).unwrap().parse().unwrap(); // requests per fresh block
    let merge: usize = std::env::args().nth(3).unwrap().parse().unwrap(); // fresh per sealed group
    let sealed_rows: u32 = std::env::args().nth(4).unwrap().parse().unwrap();
    let bin = Bytes::from(std::fs::read(format!("{dir}/requests.bin")).unwrap());
    let idx = std::fs::read(format!("{dir}/index.bin")).unwrap();
    let idx: Vec<u64> = idx.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
    let reqs: Vec<Bytes> = idx.chunks_exact(3).map(|t| bin.slice(t[0] as usize..(t[0] + t[1]) as usize)).collect();
    let reqs = &reqs[..reqs.len().min(2000)];
    let limits = DecodeLimits { max_span_bytes: 1 << 24, max_resource_bytes: 1 << 20, max_nesting: 32 };
    let t = Instant::now();
    let decoded: Vec<Decoded> = reqs.iter().map(|r| decode_request(r.clone(), &limits).unwrap()).collect();
    let n: usize = decoded.iter().map(|d| d.spans.len()).sum();
    println!("decode {:.3} us/span, {} spans {} B/span wire", t.elapsed().as_secs_f64() * 1e6 / n as f64, n, reqs.iter().map(|r| r.len()).sum::<usize>() / n);
    let build = |level: u8, ds: &[Decoded], cut: u32| -> Vec<FinishedBlock> {
        let mut order: Vec<((u128, u64, u64), u32, u32)> = Vec::new();
        for (r, d) in ds.iter().enumerate() {
            order.extend(d.spans.iter().enumerate().map(|(a, s)| ((u128::from_be_bytes(*s.trace_id.as_bytes()), s.start.0, u64::from_be_bytes(*s.span_id.as_bytes())), r as u32, a as u32)));
        }
        order.sort_unstable();
        let mut out = vec![];
        let mut w = BlockWriter::new(1).unwrap();
        let mut res: Vec<Vec<Option<u32>>> = ds.iter().map(|r| vec![None; r.resources.len()]).collect();
        let mut sc: Vec<Vec<Option<u32>>> = ds.iter().map(|r| vec![None; r.scopes.len()]).collect();
        let mut last = 0u128;
        for (k, r, a) in order {
            if w.rows() >= cut && k.0 != last {
                out.push(std::mem::replace(&mut w, BlockWriter::new(1).unwrap()).finish(level, UnixNanos(1)).unwrap());
                res.iter_mut().for_each(|r| r.fill(None));
                sc.iter_mut().for_each(|r| r.fill(None));
            }
            last = k.0;
            let d = &ds[r as usize];
            let s = &d.spans[a as usize];
            let rr = match res[r as usize][s.resource as usize] { Some(x) => x, None => { let x = w.resource(&d.resources[s.resource as usize]).unwrap(); res[r as usize][s.resource as usize] = Some(x); x } };
            let ss = match sc[r as usize][s.scope as usize] { Some(x) => x, None => { let x = w.scope(&d.scopes[s.scope as usize]); sc[r as usize][s.scope as usize] = Some(x); x } };
            w.push_known(rr, ss, SpanKey { trace_id: s.trace_id, start: s.start.0, span_id: s.span_id }, &d.body[s.at.clone()], u64::from(r)).unwrap();
        }
        out.push(w.finish(level, UnixNanos(1)).unwrap());
        out
    };
    let report = |name: &str, blocks: &[FinishedBlock], secs: f64| {
        let mut by: BTreeMap<String, u64> = BTreeMap::new();
        let rows: u64 = blocks.iter().map(|b| u64::from(b.row.meta.spans)).sum();
        let mut total = 0;
        for b in blocks {
            total += b.bytes.len() as u64;
            let h = Header::parse(&b.bytes).unwrap();
            *by.entry("header".into()).or_default() += u64::from(b.row.header_bytes);
            for s in h.sections() { *by.entry(format!("{:?}", s.kind)).or_default() += u64::from(s.stored); }
        }
        println!("{name}: {} blocks, {:.3} us/span, {:.2} B/span", blocks.len(), secs * 1e6 / rows as f64, total as f64 / rows as f64);
        for (k, v) in by { println!("   {k:12} {:.2}", v as f64 / rows as f64); }
    };
    let t = Instant::now();
    let fresh: Vec<FinishedBlock> = decoded.chunks(per).flat_map(|c| build(0, c, u32::MAX)).collect();
    report("fresh", &fresh, t.elapsed().as_secs_f64());
    let t = Instant::now();
    let sealed: Vec<FinishedBlock> = decoded.chunks(per * merge).flat_map(|c| build(1, c, sealed_rows)).collect();
    report("sealed", &sealed, t.elapsed().as_secs_f64());
    if std::env::args().nth(5).is_none() { return; }
    let b = &sealed[0];
    let t = Instant::now();
    let h = Header::parse(&b.bytes).unwrap();
    let get = |s: &Section| { let r = s.range(); s.decode(b.bytes.slice(r.start as usize..r.end as usize)).unwrap() };
    let dict = Arc::new(Dictionary::decode(get(h.section(SectionKind::Dictionary).unwrap())).unwrap());
    println!("dictionary {:?}: {} B decoded, slots {} shapes {} classes {} origins {} ops {}", t.elapsed(), dict.size(), dict.slots.len(), dict.shapes.len(), dict.classes.len(), dict.origins.len(), dict.operations.len());
    let t = Instant::now();
    let texts = Arc::new(TextTable::decode(&get(h.section(SectionKind::Texts).unwrap())).unwrap());
    println!("texts {:?}: {} of {} B", t.elapsed(), texts.len(), texts.size());
    let mut want: BTreeMap<(TraceId, u64, SpanId), Vec<Bytes>> = BTreeMap::new();
    for d in decoded.chunks(per * merge).next().unwrap() { for s in &d.spans { want.entry((s.trace_id, s.start.0, s.span_id)).or_default().push(d.body.slice(s.at.clone())); } }
    let mut checked = 0;
    let table = TraceTable::decode(get(h.section(SectionKind::Traces).unwrap()), b.row.meta.traces as usize, b.row.meta.spans).unwrap();
    let mut ids = table.entries().iter().flat_map(|(id, r)| std::iter::repeat_n(*id, r.rows as usize));
    let (mut tc, mut ti, mut tv, mut tr) = (0.0, 0.0, 0.0, 0.0);
    for ((c, i), v) in h.pages(SectionKind::Core).iter().zip(h.pages(SectionKind::Ids)).zip(h.pages(SectionKind::Values)) {
        let t = Instant::now();
        let core = Arc::new(CorePage::decode(&get(c), &dict).unwrap());
        tc += t.elapsed().as_secs_f64();
        let t = Instant::now();
        let idp = Arc::new(IdsPage::decode(&get(i), core.rows()).unwrap());
        ti += t.elapsed().as_secs_f64();
        let t = Instant::now();
        let values = Arc::new(ValuesPage::open(get(v), &core, &dict).unwrap());
        tv += t.elapsed().as_secs_f64();
        let t = Instant::now();
        let mut r = Rebuilder::new(dict.clone(), texts.clone(), core.clone(), idp.clone(), values, 0);
        let mut out = vec![];
        for row in 0..core.rows() {
            let id = ids.next().unwrap();
            out.clear();
            r.next(id, &mut out).unwrap();
            let key = (id, core.start[row], SpanId::from_bytes(idp.span_id[row].to_be_bytes()));
            let w = want.get(&key).unwrap();
            assert!(w.iter().any(|w| w == &out), "{row}");
            checked += 1;
        }
        tr += t.elapsed().as_secs_f64();
    }
    println!("checked {checked}: core {:.3} ids {:.3} values-open {:.3} rebuild(+check) {:.3} us/span", tc * 1e6 / checked as f64, ti * 1e6 / checked as f64, tv * 1e6 / checked as f64, tr * 1e6 / checked as f64);
}
