//! Spans as text in, trees as text out.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::testing;

fn assembled(text: &str) -> Assembled {
    let spans = testing::spans(text).into_iter().map(Ok);
    assemble(spans, &Damage::default(), Shown::All).unwrap().expect("a trace")
}

/// The tree as text: a line per segment, below it a line per span, then the trace's root and warnings.
fn render(trace: &Assembled) -> String {
    let mut depths = vec![0usize; trace.segments.len()];
    let mut lines = Vec::new();
    for (place, segment) in trace.segments.iter().enumerate() {
        depths[place] = segment.parent.map_or(0, |parent| depths[parent as usize] + 1);
        let indent = "  ".repeat(depths[place]);
        let entry = &trace.spans[segment.entry as usize];
        let instance = segment.instance.as_ref().map(|i| format!("@{i}")).unwrap_or_default();
        let id = trace.segment_id(segment);
        let id = id.trim_start_matches('0');
        let errors =
            if segment.error_count > 0 { format!(" errors={}", segment.error_count) } else { String::new() };
        lines.push(format!(
            "{indent}[{id} {}{instance} {}..{}{errors}]",
            trace.resource_of(entry).service,
            segment.start,
            segment.end
        ));
        for span in &trace.order[segment.spans.clone()] {
            let span = &trace.spans[*span as usize];
            let hex = |span: &Span| span.id.to_string().trim_start_matches('0').to_owned();
            let parent = span.parent.map_or("-".to_owned(), |parent| hex(&trace.spans[parent as usize]));
            let why = span.detached.map(|why| format!(" {why:?}")).unwrap_or_default();
            lines.push(format!("{indent}  {}<{parent} self={}{why}", hex(span), span.self_nanos));
        }
    }
    lines.push(format!("root={}", trace.spans[trace.root.unwrap()].id.to_string().trim_start_matches('0')));
    lines.extend(trace.warnings.iter().map(|warning| format!("! {warning}")));
    lines.join("\n")
}

fn check(text: &str, tree: &str) {
    let wanted: Vec<&str> = tree.trim_matches('\n').lines().collect();
    let margin = wanted.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let wanted: Vec<&str> = wanted.iter().map(|line| &line[margin..]).collect();
    let got = render(&assembled(text));
    assert_eq!(got.trim_end(), wanted.join("\n").trim_end(), "got:\n{got}");
}

#[test]
fn a_call_makes_two_segments() {
    check(
        "1 - server gateway 0..100
         2 1 internal gateway 10..90
         3 2 client gateway 20..80
         4 3 server cart 30..70 error
         5 1 internal gateway 85..95",
        "
        [1 gateway 0..100]
          1<- self=15
          2<1 self=20
          3<2 self=20
          5<1 self=10
          [4 cart 30..70 errors=1]
            4<3 self=40
        root=1",
    );
}

#[test]
fn instances_of_one_service_are_segments_of_their_own() {
    check(
        "1 - internal cart 0..100 res.service.instance.id=a
         2 1 internal cart 10..20 res.service.instance.id=a
         3 1 internal cart 30..40 res.service.instance.id=b
         4 1 internal cart 50..60 res.service.namespace=other res.service.instance.id=a
         5 1 internal - 70..80
         6 5 internal - 71..72",
        "
        [1 cart@a 0..100]
          1<- self=60
          2<1 self=10
          [3 cart@b 30..40]
            3<1 self=10
          [4 cart@a 50..60]
            4<1 self=10
          [5 unknown_service 70..80]
            5<1 self=9
            6<5 self=1
        root=1",
    );
}

#[test]
fn a_server_in_the_same_service_begins_a_segment_unless_its_parent_is_known_to_be_local() {
    check(
        "1 - server cart 0..100
         2 1 server cart 10..20
         3 1 server cart 30..40 flags=0x101
         4 1 server cart 50..60 flags=0x301
         5 1 consumer cart 70..80
         6 1 consumer cart 81..82 flags=0x100
         7 1 internal cart 83..84 flags=0x300",
        "
        [1 cart 0..100]
          1<- self=58
          3<1 self=10
          6<1 self=1
          7<1 self=1
          [2 cart 10..20]
            2<1 self=10
          [4 cart 50..60]
            4<1 self=10
          [5 cart 70..80]
            5<1 self=10
        root=1",
    );
}

#[test]
fn a_shared_server_is_the_child_of_its_client() {
    // Zipkin: client and server share the ID 2, and both name the parent 1. Envoy retried once.
    check(
        "1 - server gateway 0..100
         2 1 client gateway 10..90
         2 1 server cart 20..40 error
         2 1 server cart 50..80
         3 2 internal cart 25..30
         4 2 internal cart 55..60
         5 2 internal gateway 60..61
         6 2 internal other 52..53
         7 2 internal other 95..99",
        "
        [1 gateway 0..100]
          1<- self=20
          2<1 self=30
          5<2 self=1
          [2 cart 20..40 errors=1]
            2<2 self=15
            3<2 self=5
          [2-2 cart 50..80]
            2<2 self=24
            4<2 self=5
            [6 other 52..53]
              6<2 self=1
          [7 other 95..99]
            7<2 self=4
        root=1",
    );
}

#[test]
fn a_shared_root_server_needs_no_client() {
    check(
        "1 - server gateway 0..100
         1 - server gateway 200..300
         2 1 client gateway 210..220",
        "
        [1 gateway 0..100]
          1<- self=100
        [1-2 gateway 200..300]
          1<- self=90
          2<1 self=10
        root=1",
    );
}

#[test]
fn one_orphan_has_an_external_parent() {
    check(
        "2 1 server gateway 0..100
         3 2 internal gateway 10..20",
        "
        [2 gateway 0..100]
          2<- self=90 ExternalParent
          3<2 self=10
        root=2
        ! external parent: the root's parent is not in this trace",
    );
}

#[test]
fn several_orphans_are_a_warning() {
    check(
        "2 9 server gateway 5..100
         3 8 internal gateway 10..20",
        "
        [2 gateway 5..100]
          2<- self=95 Orphan
        [3 gateway 10..20]
          3<- self=10 Orphan
        root=2
        ! 2 spans name a parent that is not in this trace",
    );
}

#[test]
fn the_parentless_span_is_the_root_though_an_orphan_is_earlier() {
    check(
        "1 9 internal cart 0..3
         2 - server gateway 5..100
         3 - internal gateway 4..6",
        "
        [3 gateway 4..6]
          3<- self=2
        [1 cart 0..3]
          1<- self=3 Orphan
        [2 gateway 5..100]
          2<- self=95
        root=3
        ! 1 span names a parent that is not in this trace",
    );
}

#[test]
fn a_cycle_is_cut_at_its_earliest_span() {
    check(
        "1 3 internal cart 20..50
         2 1 internal cart 10..60
         3 2 internal cart 30..40
         4 3 internal cart 35..36
         5 5 internal cart 70..71",
        "
        [2 cart 10..60]
          2<- self=40 Cycle
          3<2 self=0
          1<3 self=30
          4<3 self=1
        [5 cart 70..71]
          5<- self=1 Cycle
        root=2
        ! 2 cycles of parents were cut, each at its earliest span",
    );
}

#[test]
fn clocks_may_say_anything() {
    check(
        "1 - server gateway 100..50
         2 1 internal gateway 0..18446744073709551615
         3 2 internal gateway 18446744073709551615..0",
        "
        [1 gateway 0..18446744073709551615]
          1<- self=0
          2<1 self=18446744073709551615
          3<2 self=0
        root=1
        ! 2 spans end before they start; their durations are shown as 0",
    );
}

#[test]
fn children_are_clipped_and_their_overlap_counts_once() {
    check(
        "1 - server gateway 100..200
         2 1 internal gateway 50..120
         3 1 internal gateway 110..150
         4 1 internal gateway 115..130
         5 1 internal gateway 190..900",
        "
        [1 gateway 50..900]
          1<- self=40
          2<1 self=70
          3<1 self=40
          4<1 self=15
          5<1 self=710
        root=1",
    );
}

#[test]
fn the_instance_has_its_fallbacks() {
    check(
        "1 - client a 0..9 res.host.name=host
         2 1 server b 1..8 node_id=sidecar~10.0.0.1~cart-v1.x-5.shop~shop.svc.cluster.local res.k8s.pod.name=pod
         3 2 server c 2..7 res.k8s.pod.name=pod res.host.name=host
         4 3 server d 3..6
         5 4 server e 4..5 res.service.instance.id=i node_id=sidecar~1~p.n~x
         6 1 internal b 8..9
         7 6 client b 8..9 node_id=router~1~gw.istio-system~x",
        "
        [1 a@host 0..9]
          1<- self=1
          [2 b@cart-v1.x-5 1..8]
            2<1 self=2
            [3 c@pod 2..7]
              3<2 self=2
              [4 d 3..6]
                4<3 self=2
                [5 e@i 4..5]
                  5<4 self=1
          [6 b@gw 8..9]
            6<1 self=0
            7<6 self=1
        root=1",
    );
}

#[test]
fn services_and_failures_are_counted() {
    let trace = assembled(
        "1 - server b 0..9 error
         2 1 client b 1..2 error=true
         3 1 client a 1..2 ok error=true
         4 1 client - 1..2",
    );
    let counts: Vec<_> =
        trace.services.iter().map(|s| (s.name.as_str(), s.span_count, s.error_count)).collect();
    assert_eq!(counts, [("a", 1, 0), ("b", 2, 2), ("unknown_service", 1, 0)]);
    assert_eq!(trace.error_count(), 2);
}

#[test]
fn nothing_is_not_a_trace() {
    assert!(assemble(std::iter::empty(), &Damage::default(), Shown::All).unwrap().is_none());
}

#[test]
fn a_parent_id_of_odd_length_is_an_orphan_and_zeros_are_no_parent() {
    use opentelemetry_proto::tonic::trace::v1::Span as Sent;
    let sent = |id: u8, parent: &[u8]| {
        let span = Sent { span_id: vec![id; 8], parent_span_id: parent.to_vec(), ..Default::default() };
        Ok(testing::stored(Vec::new(), &span))
    };
    let spans = [sent(1, &[0; 8]), sent(2, &[1; 5])];
    let trace = assemble(spans.into_iter(), &Damage::default(), Shown::All).unwrap().unwrap();
    assert_eq!(trace.spans[0].detached, None);
    assert_eq!(trace.spans[1].detached, Some(Detached::Orphan));
}

#[test]
fn what_cannot_be_read_is_left_out_aloud() {
    let mut spans = testing::spans("1 - server a 0..9\n2 1 internal a 1..2");
    spans[1].span = Bytes::from_static(&[0xff]);
    let trace = assemble(spans.into_iter().map(Ok), &Damage::default(), Shown::All).unwrap().unwrap();
    assert_eq!(trace.spans.len(), 1);
    assert_eq!(trace.warnings, ["1 stored span could not be read and is left out"]);
}

/// So many spans that a quadratic algorithm would hold up the tests.
const LARGE: usize = 200_000;

fn large(parent: impl Fn(usize) -> usize, kind: &str) -> Vec<StoredSpan> {
    let line = |i: usize| match parent(i) {
        0 => format!("{i:x} - {kind} s 1..100"),
        above => format!("{i:x} {above:x} {kind} s 1..100"),
    };
    (1..=LARGE).flat_map(|i| testing::spans(&line(i))).collect()
}

#[test]
fn a_long_chain_a_wide_fan_and_a_large_cycle_are_quick() {
    for (what, spans) in [
        ("chain", large(|i| i - 1, "internal")),
        ("chain of segments", large(|i| i - 1, "server")),
        ("fan", large(|i| usize::from(i > 1), "client")),
        ("cycle", large(|i| if i == 1 { LARGE } else { i - 1 }, "internal")),
    ] {
        let begun = Instant::now();
        let trace = assemble(spans.into_iter().map(Ok), &Damage::default(), Shown::All).unwrap().unwrap();
        assert_eq!(trace.order.len(), LARGE, "{what}");
        eprintln!("{what}: {:?}", begun.elapsed());
    }
}

#[test]
fn many_spans_of_one_id_are_quick() {
    let mut spans: Vec<StoredSpan> = (0..LARGE / 2)
        .flat_map(|i| {
            let kind = if i % 2 == 0 { "client" } else { "server" };
            let own = testing::spans(&format!("1 - {kind} s{} {i}..{}", i % 7, i + 1)).remove(0);
            let child = testing::spans(&format!("{:x} 1 internal other {i}..{}", i + 2, i + 1)).remove(0);
            [own, child]
        })
        .collect();
    spans.reverse();
    let begun = Instant::now();
    let trace = assemble(spans.into_iter().map(Ok), &Damage::default(), Shown::All).unwrap().unwrap();
    assert_eq!(trace.order.len(), LARGE);
    eprintln!("shared: {:?}", begun.elapsed());
}

fn any_line() -> impl Strategy<Value = String> {
    let kinds =
        prop::sample::select(vec!["unspecified", "internal", "server", "client", "producer", "consumer"]);
    let flags = prop::sample::select(vec![
        "",
        " flags=0x100",
        " flags=0x300",
        " error",
        " res.service.instance.id=i",
    ]);
    (1u64..12, 0u64..14, kinds, 0u8..3, 0u64..40, 0u64..40, flags).prop_map(
        |(id, parent, kind, service, start, end, extra)| {
            let parent = if parent == 0 { "-".to_owned() } else { format!("{parent:x}") };
            format!("{id:x} {parent} {kind} s{service} {start}..{end}{extra}")
        },
    )
}

proptest! {
    #[test]
    fn every_span_has_exactly_one_place(lines in prop::collection::vec(any_line(), 1..40)) {
        let text = lines.join("\n");
        let trace = assembled(&text);
        let count = lines.len();

        let mut seen = trace.order.clone();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count as u32).collect::<Vec<_>>());
        prop_assert_eq!(trace.segments.iter().map(|s| s.spans.len()).sum::<usize>(), count);
        prop_assert_eq!(trace.segments.iter().map(|s| s.error_count).sum::<u64>(), trace.error_count());
        prop_assert_eq!(trace.services.iter().map(|s| s.span_count).sum::<u64>(), count as u64);

        let mut ids: Vec<String> = trace.segments.iter().map(|s| trace.segment_id(s)).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), trace.segments.len());

        let mut listed = vec![false; count];
        for (place, segment) in (0u32..).zip(&trace.segments) {
            prop_assert!(segment.parent.is_none_or(|parent| parent < place));
            prop_assert!(segment.subtree_end > place);
            prop_assert_eq!(trace.order[segment.spans.start], segment.entry);
            for at in &trace.order[segment.spans.clone()] {
                let span = &trace.spans[*at as usize];
                prop_assert!(span.parent.is_none_or(|parent| listed[parent as usize]), "parents come first");
                prop_assert!(segment.start <= span.start && span.end() <= segment.end);
                prop_assert!(span.self_nanos <= span.duration());
                listed[*at as usize] = true;
            }
        }
    }
}
