//! The store's contract on every engine. The tests themselves are in `tests/src/contract`.

use spandrel_tests::contract_suite;
use spandrel_tests::harness::{Backend, Harness};

contract_suite!(memory, || Harness::new(Backend::memory()));
contract_suite!(rocks, || Harness::new(Backend::rocks()));
contract_suite!(encrypted_memory, || Harness::new(Backend::memory().encrypted()));
contract_suite!(encrypted_rocks, || Harness::new(Backend::rocks().encrypted()));
