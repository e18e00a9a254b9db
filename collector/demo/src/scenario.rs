//! The scenes of the shop, from a visit to the home page to a settlement batch, which runs every minute here.
//!
//! The schedule decides when they happen.

mod analytics;
mod browse;
mod checkout;
mod settlement;

use crate::stage::Stage;
use std::time::SystemTime;

/// A scene: one visit or one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scene {
    /// The home page: a fan-out, with recommendations that may be left out.
    Home,
    /// A product's page, sometimes of a product that was removed.
    Product,
    /// A search, sometimes with N+1 queries.
    Search,
    /// A search that the customer does not wait for.
    CancelledSearch,
    /// A product goes into the cart.
    AddToCart,
    /// An order: stock, payment with retries, and consumers that go on afterwards.
    Checkout,
    /// A consumer takes all new orders in one batch.
    Analytics,
    /// A batch job of a few hundred spans.
    Settlement,
}

impl Scene {
    /// The scenes of customers, with their weights.
    pub(crate) const VISITS: [(u32, Scene); 6] = [
        (30, Scene::Home),
        (28, Scene::Product),
        (16, Scene::Search),
        (2, Scene::CancelledSearch),
        (12, Scene::AddToCart),
        (12, Scene::Checkout),
    ];

    /// Plays the scene, which begins at this time.
    pub(crate) fn play(self, stage: &mut Stage, at: SystemTime) {
        match self {
            Scene::Home => browse::home(stage, at),
            Scene::Product => browse::product(stage, at),
            Scene::Search => browse::search(stage, at),
            Scene::CancelledSearch => browse::cancelled_search(stage, at),
            Scene::AddToCart => browse::add_to_cart(stage, at),
            Scene::Checkout => checkout::play(stage, at),
            Scene::Analytics => analytics::play(stage, at),
            Scene::Settlement => settlement::play(stage, at),
        }
    }
}
