//! Values that many spans share: shoppers, products, addresses. Their frequencies decide how well dictionaries and
//! filters work.

use fastrand::Rng;

use super::encode::{Value, span_attribute};

/// All pools of a corpus.
pub(super) struct Pools {
    pub(super) addresses: Pool,
    pub(super) agents: Pool,
    pub(super) peers: Pool,
    pub(super) ports: Pool,
    pub(super) threads: Pool,
    pub(super) rows: Pool,
    pub(super) flags: Pool,
    pub(super) regions: Pool,
    pub(super) totals: Pool,
    pub(super) items: Pool,
    pub(super) body_sizes: Pool,
    pub(super) partitions: Pool,
    products: Vec<String>,
    categories: Vec<String>,
    /// The cumulative popularity of shoppers.
    popularity: Vec<f64>,
}

/// Attributes, encoded once and copied into spans.
pub(super) struct Pool(Vec<Vec<u8>>);

const SHOPPERS: usize = 50_000;
const PRODUCTS: usize = 8_000;

// === impl Pools ===

impl Pools {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let text = |key, value: String| span_attribute(key, Value::Text(&value));
        let int = |key, value| span_attribute(key, Value::Int(value));
        let mut sum = 0.0;
        let popularity = (0..SHOPPERS).map(|rank| {
            sum += (rank as f64 + 12.0).powf(-0.72);
            sum
        });
        Self {
            popularity: popularity.collect(),
            addresses: Pool::of(20_000, |_| text("client.address", public_address(rng))),
            agents: Pool::of(200, |_| text("user_agent.original", user_agent(rng))),
            peers: Pool::of(600, |_| text("network.peer.address", private_address(rng))),
            ports: Pool::of(900, |i| int("network.peer.port", 32_768 + i * 29)),
            threads: Pool::of(64, |i| {
                [int("thread.id", i + 1), text("thread.name", format!("worker-{}", (i + 1) % 24))].concat()
            }),
            rows: Pool::of(200, |i| int("db.response.returned_rows", i)),
            flags: Pool::of(12, |i| {
                let key =
                    ["new-checkout", "suggestions-v3", "free-shipping-banner", "psp-routing"][i as usize / 3];
                let variant = ["on", "off", "control"][i as usize % 3];
                let variant = text("feature_flag.result.variant", variant.to_owned());
                [text("feature_flag.key", key.to_owned()), variant].concat()
            }),
            regions: Pool::of(6, |i| {
                let region = ["eu-west", "eu-west", "us-east", "us-east", "us-west", "ap-southeast"];
                text("app.region", region[i as usize].to_owned())
            }),
            totals: Pool::of(2_000, |_| {
                let cents = (100.0 * (4.0 + 0.8 * normal(rng)).exp()).round();
                span_attribute("app.basket.total", Value::Double(cents / 100.0))
            }),
            items: Pool::of(40, |i| int("app.items.count", i + 1)),
            body_sizes: Pool::of(300, |_| int("messaging.message.body.size", rng.i64(300..4_000))),
            partitions: Pool::of(24, |i| text("messaging.destination.partition.id", i.to_string())),
            products: (0..PRODUCTS).map(|_| product(rng)).collect(),
            categories: categories(),
        }
    }

    /// The index of a shopper, the most popular first: few of them cause most of the traffic.
    pub(super) fn shopper(&self, rng: &mut Rng) -> usize {
        let total = self.popularity.last().copied().unwrap_or_default();
        let place = rng.f64() * total;
        self.popularity.partition_point(|sum| *sum < place)
    }

    /// A product; popular ones are more likely.
    pub(super) fn product(&self, rng: &mut Rng) -> &str {
        let place = rng.f64().powi(2) * self.products.len() as f64;
        &self.products[place as usize]
    }

    pub(super) fn category(&self, rng: &mut Rng) -> &str {
        &self.categories[rng.usize(0..self.categories.len())]
    }
}

// === impl Pool ===

impl Pool {
    fn of(size: i64, make: impl FnMut(i64) -> Vec<u8>) -> Self {
        Self((0..size).map(make).collect())
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> &[u8] {
        &self.0[rng.usize(0..self.0.len())]
    }

    /// The value for an index, which may exceed the length.
    pub(super) fn at(&self, place: usize) -> &[u8] {
        &self.0[place % self.0.len()]
    }
}

/// A number from the standard normal distribution.
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

fn public_address(rng: &mut Rng) -> String {
    format!("{}.{}.{}.{}", rng.u8(11..224), rng.u8(..), rng.u8(..), rng.u8(1..255))
}

fn private_address(rng: &mut Rng) -> String {
    format!("10.{}.{}.{}", rng.u8(0..16), rng.u8(..), rng.u8(2..255))
}

fn user_agent(rng: &mut Rng) -> String {
    const SYSTEMS: [&str; 5] = [
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "iPhone; CPU iPhone OS 17_5 like Mac OS X",
        "Linux; Android 14; Pixel 8",
    ];
    let (major, build, patch) = (rng.u32(110..132), rng.u32(1_000..7_000), rng.u32(10..200));
    let browser = match rng.u8(0..4) {
        0 => format!("Chrome/{major}.0.{build}.{patch} Safari/537.36"),
        1 => format!("Firefox/{major}.0"),
        2 => format!("Version/{major}.1 Safari/605.1.15"),
        _ => format!("Edg/{major}.0.{build}.{patch}"),
    };
    let system = SYSTEMS[rng.usize(0..SYSTEMS.len())];
    format!("Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) {browser}")
}

fn product(rng: &mut Rng) -> String {
    const KINDS: [&str; 8] = ["SHOE", "BAG", "HAT", "TEE", "TV", "LAMP", "SOFA", "BOOK"];
    format!("{}-{:07x}", KINDS[rng.usize(0..KINDS.len())], rng.u32(0..1 << 28))
}

fn categories() -> Vec<String> {
    let mut all = Vec::new();
    for who in ["mens", "womens", "kids", "home", "garden", "tech"] {
        for what in ["shoes", "bags", "deals", "new", "sale", "basics"] {
            all.push(format!("{who}-{what}"));
        }
    }
    all
}
