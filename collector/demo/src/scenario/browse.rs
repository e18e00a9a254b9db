//! Visits that do not end in an order: looking around, searching, filling a cart.

use crate::protocol::http::Request;
use crate::rng::Rng;
use crate::services::{cart, catalogue, frontend, inventory, recommendation};
use crate::shopper::{self, Shopper};
use crate::stage::{FanOut, Stage};
use std::time::SystemTime;

pub(super) fn home(stage: &mut Stage, at: SystemTime) {
    let shopper = Shopper::passing_by(&mut stage.rng);
    let request = Request { method: "GET", route: "/", path: "/" };
    frontend::page(stage, &shopper, request, at, |stage, page| {
        let mut fan_out = FanOut::from(page);
        let featured = catalogue::featured(stage, page);
        fan_out.branch_done(page);
        recommendation::suggest(stage, page);
        fan_out.branch_done(page);
        let cart = cart::read(stage, page, &shopper);
        fan_out.branch_done(page);
        fan_out.join(page);
        featured.and(cart.map(drop))
    });
}

pub(super) fn product(stage: &mut Stage, at: SystemTime) {
    let shopper = Shopper::passing_by(&mut stage.rng);
    let id = shopper::product(&mut stage.rng);
    let path = format!("/product/{id}");
    let request = Request { method: "GET", route: "/product/{id}", path: &path };
    frontend::page(stage, &shopper, request, at, |stage, page| {
        page.set("app.product.id", id.clone());
        catalogue::product(stage, page, &id)?;
        let mut fan_out = FanOut::from(page);
        let stock = inventory::stock(stage, page);
        fan_out.branch_done(page);
        recommendation::suggest(stage, page);
        fan_out.branch_done(page);
        fan_out.join(page);
        stock
    });
}

pub(super) fn search(stage: &mut Stage, at: SystemTime) {
    let shopper = Shopper::passing_by(&mut stage.rng);
    let query = search_words(&mut stage.rng);
    let path = format!("/search?q={query}");
    let request = Request { method: "GET", route: "/search", path: &path };
    frontend::page(stage, &shopper, request, at, |stage, page| catalogue::search(stage, page, query));
}

pub(super) fn cancelled_search(stage: &mut Stage, at: SystemTime) {
    let shopper = Shopper::passing_by(&mut stage.rng);
    let query = search_words(&mut stage.rng);
    let path = format!("/search?q={query}");
    let request = Request { method: "GET", route: "/search", path: &path };
    frontend::page(stage, &shopper, request, at, |stage, page| {
        catalogue::cancelled_search(stage, page, query)
    });
}

pub(super) fn add_to_cart(stage: &mut Stage, at: SystemTime) {
    let shopper = Shopper::passing_by(&mut stage.rng);
    let id = shopper::product(&mut stage.rng);
    let request = Request { method: "POST", route: "/cart/items", path: "/cart/items" };
    frontend::page(stage, &shopper, request, at, |stage, page| {
        page.set("app.product.id", id.clone());
        inventory::stock(stage, page)?;
        cart::add(stage, page, &shopper, &id)?;
        let contents = cart::read(stage, page, &shopper)?;
        contents.describe(page, shopper.currency);
        Ok(())
    });
}

fn search_words(rng: &mut Rng) -> &'static str {
    const WORDS: [&str; 6] = ["kettle", "red+shoes", "usb+cable", "garden+chair", "notebook", "lamp"];
    rng.one_of(WORDS)
}
