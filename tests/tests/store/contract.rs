//! The store's contract on every engine, and what only an engine in memory can be made to do.

use spandrel_tests::contract_suite;
use spandrel_tests::harness::{Ground, Harness};

contract_suite!(memory, || Harness::new(Ground::memory()));
contract_suite!(rocks, || Harness::new(Ground::rocks()));
