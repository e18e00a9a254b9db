//! The catalogue: products in PostgreSQL, with a cache in Redis.

use crate::failure::{Answer, Failure};
use crate::protocol::database::{Statement, cancelled_sql, redis, sql};
use crate::protocol::http::{self, Request};
use crate::stage::{Stage, Work};
use crate::topology::Service;

const FEATURED: Statement = Statement {
    database: "catalogue",
    operation: "SELECT",
    table: "products",
    text: "SELECT id, name, price_cents, image FROM products WHERE featured ORDER BY rank LIMIT $1",
    median_ms: 4.0,
};
const PRODUCT: Statement = Statement {
    database: "catalogue",
    operation: "SELECT",
    table: "products",
    text: "SELECT id, name, description, price_cents, image FROM products WHERE id = $1",
    median_ms: 2.0,
};
const SEARCH: Statement = Statement {
    database: "catalogue",
    operation: "SELECT",
    table: "products",
    text: "SELECT id, name FROM products WHERE search_text @@ websearch_to_tsquery($1) ORDER BY rank LIMIT $2",
    median_ms: 18.0,
};
const PRICE: Statement = Statement {
    database: "catalogue",
    operation: "SELECT",
    table: "prices",
    text: "SELECT price_cents FROM prices WHERE product_id = $1 AND currency = $2",
    median_ms: 1.5,
};
const PRICES: Statement = Statement {
    database: "catalogue",
    operation: "SELECT",
    table: "prices",
    text: "SELECT product_id, price_cents FROM prices WHERE product_id = ANY($1) AND currency = $2",
    median_ms: 3.5,
};

/// The products of the home page.
pub(crate) fn featured(stage: &mut Stage, caller: &mut Work) -> Answer {
    let request = Request { method: "GET", route: "/products/featured", path: "/products/featured" };
    http::call(stage, caller, Service::Catalogue, request, |stage, work| {
        if !cached(stage, work, "products:featured") {
            sql(stage, work, &FEATURED, 12);
        }
        work.set("app.product.count", 12);
        work.pass(stage.around(1.0));
        Ok(())
    })
}

/// One product; some requests are for products that were removed.
pub(crate) fn product(stage: &mut Stage, caller: &mut Work, id: &str) -> Answer {
    let path = format!("/products/{id}");
    let request = Request { method: "GET", route: "/products/{id}", path: &path };
    let gone = stage.rng.likely(0.025);
    http::call(stage, caller, Service::Catalogue, request, |stage, work| {
        work.set("app.product.id", id.to_owned());
        if !gone && cached(stage, work, &format!("product:{id}")) {
            return Ok(());
        }
        sql(stage, work, &PRODUCT, usize::from(!gone));
        work.pass(stage.around(0.5));
        if gone {
            work.exception(&Failure::NotFound);
            return Err(Failure::NotFound);
        }
        redis(stage, work, "SET", format!("SET product:{id} ? EX ?"));
        Ok(())
    })
}

/// A search. One code path still queries the price of each result by itself (N+1 queries).
pub(crate) fn search(stage: &mut Stage, caller: &mut Work, query: &str) -> Answer {
    let path = format!("/products?q={query}");
    let request = Request { method: "GET", route: "/products", path: &path };
    http::call(stage, caller, Service::Catalogue, request, |stage, work| {
        let results = stage.rng.between(8, 40);
        sql(stage, work, &SEARCH, results);
        if stage.rng.likely(0.3) {
            for _ in 0..results {
                sql(stage, work, &PRICE, 1);
                work.pass(stage.around(0.1));
            }
        } else {
            sql(stage, work, &PRICES, results);
        }
        work.set("app.product.count", results as i64);
        work.pass(stage.around(2.0));
        Ok(())
    })
}

/// A search that takes too long: the customer closes the page, and every service cancels its work.
pub(crate) fn cancelled_search(stage: &mut Stage, caller: &mut Work, query: &str) -> Answer {
    let path = format!("/products?q={query}");
    let request = Request { method: "GET", route: "/products", path: &path };
    http::call(stage, caller, Service::Catalogue, request, |stage, work| {
        cancelled_sql(stage, work, &SEARCH, 1500.0);
        work.event("request cancelled", Vec::new());
        Err(Failure::Cancelled)
    })
}

/// Reads the cache, which has most keys.
fn cached(stage: &mut Stage, work: &mut Work, key: &str) -> bool {
    redis(stage, work, "GET", format!("GET {key}"));
    let hit = stage.rng.likely(0.7);
    work.set("app.cache.hit", hit);
    hit
}
