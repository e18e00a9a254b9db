//! Every example of the documentation is a query.
#![allow(clippy::unwrap_used, clippy::panic)]

#[test]
fn examples_parse() {
    let page = include_str!("../../../docs/querying.md");
    let blocks = page.split("```traceql\n").skip(1).map(|block| block.split("```").next().unwrap());
    let examples: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert!(examples.len() > 30, "{} examples", examples.len());
    for example in examples {
        let query = spandrel_traceql::parse(example).unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!(spandrel_traceql::parse(&query.to_string()), Ok(query), "{example}");
    }
}
