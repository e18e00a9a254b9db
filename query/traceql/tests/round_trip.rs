//! Random trees: what they print is parsed into the same tree.

mod trees;

use proptest::prelude::*;
use spandrel_traceql::parse;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn printed_trees_parse_as_themselves(query in trees::query()) {
        let printed = query.to_string();
        match parse(&printed) {
            Ok(parsed) => prop_assert_eq!(parsed, query, "{}", printed),
            Err(error) => prop_assert!(false, "{printed}: {error}"),
        }
    }
}
