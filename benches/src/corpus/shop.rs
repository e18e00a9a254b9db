//! The shop that the corpus comes from: which services there are, what they do, and whom they call.
//!
//! Data only. How long things take and what fails is drawn in `trace.rs`.

use Service::*;

/// The services, in the order of [`SERVICES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Edge,
    Storefront,
    Catalogue,
    Pricing,
    Search,
    Basket,
    Checkout,
    Payments,
    Fraud,
    Stock,
    Orders,
    Mailer,
}

/// What a service's resources say about it.
pub(super) struct ServiceFacts {
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    pub(super) instances: u16,
}

/// How an operation is reached, which decides kind and attributes of its spans.
pub(super) enum Via {
    /// Its name is method and route.
    Http,
    /// Its name is service and method.
    Rpc,
    /// A statement, run by the caller: no span of its own service.
    Database { system: &'static str, namespace: &'static str, statement: &'static str },
    /// A message on a queue, handled later.
    Queue { topic: &'static str },
    /// A step inside the caller.
    Local,
}

/// What an operation is about, in the words of the business.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Nothing,
    Basket,
    /// One per trace at the most: its ID is what a rare attribute is.
    Order,
}

/// Something that a service does.
pub(super) struct Operation {
    pub(super) service: Service,
    pub(super) name: &'static str,
    pub(super) via: Via,
    pub(super) about: About,
    /// What it typically takes itself, calls not counted.
    pub(super) micros: u32,
    pub(super) calls: &'static [Call],
}

/// An operation calls another, in this share of cases and so many times.
pub(super) struct Call {
    pub(super) chance: f64,
    pub(super) times: (u32, u32),
    pub(super) operation: &'static Operation,
}

pub(super) const SERVICES: [ServiceFacts; 12] = [
    service("edge", "cpp", 3),
    service("storefront", "nodejs", 6),
    service("catalogue", "go", 4),
    service("pricing", "rust", 2),
    service("search", "java", 4),
    service("basket", "dotnet", 4),
    service("checkout", "java", 4),
    service("payments", "java", 3),
    service("fraud", "python", 2),
    service("stock", "go", 3),
    service("orders", "go", 3),
    service("mailer", "ruby", 2),
];

/// What shoppers do, with how often they do it.
pub(super) static ENTRIES: [(u32, &Operation); 6] =
    [(30, &HOME), (34, &PRODUCT), (16, &FIND), (12, &ADD_TO_BASKET), (5, &PLACE_ORDER), (3, &ORDER_HISTORY)];

const fn service(name: &'static str, language: &'static str, instances: u16) -> ServiceFacts {
    ServiceFacts { name, language, instances }
}

const fn http(service: Service, name: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    Operation { service, name, via: Via::Http, about: About::Nothing, micros, calls }
}

const fn rpc(service: Service, name: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    Operation { service, name, via: Via::Rpc, about: About::Nothing, micros, calls }
}

const fn local(service: Service, name: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    Operation { service, name, via: Via::Local, about: About::Nothing, micros, calls }
}

const fn sql(service: Service, name: &'static str, statement: &'static str, micros: u32) -> Operation {
    let via = Via::Database { system: "postgresql", namespace: SERVICES[service as usize].name, statement };
    Operation { service, name, via, about: About::Nothing, micros, calls: &[] }
}

const fn redis(service: Service, name: &'static str, statement: &'static str, micros: u32) -> Operation {
    let via = Via::Database { system: "redis", namespace: "0", statement };
    Operation { service, name, via, about: About::Nothing, micros, calls: &[] }
}

const fn about(what: About, mut operation: Operation) -> Operation {
    operation.about = what;
    operation
}

const fn always(operation: &'static Operation) -> Call {
    Call { chance: 1.0, times: (1, 1), operation }
}

const fn sometimes(chance: f64, operation: &'static Operation) -> Call {
    Call { chance, times: (1, 1), operation }
}

const fn repeated(least: u32, most: u32, operation: &'static Operation) -> Call {
    Call { chance: 1.0, times: (least, most), operation }
}

// === what shoppers do ===

static HOME: Operation = http(Edge, "GET /", 180, &[always(&SHOW_HOME)]);
static PRODUCT: Operation = http(Edge, "GET /products/{sku}", 160, &[always(&SHOW_PRODUCT)]);
static FIND: Operation = http(Edge, "GET /search", 170, &[always(&SHOW_RESULTS)]);
static ADD_TO_BASKET: Operation = http(Edge, "POST /basket/lines", 210, &[always(&ADD_LINE)]);
static PLACE_ORDER: Operation = http(Edge, "POST /orders", 260, &[always(&CHECK_OUT)]);
static ORDER_HISTORY: Operation = http(Edge, "GET /orders", 190, &[always(&SHOW_ORDERS)]);

// === storefront ===

static SHOW_HOME: Operation = http(
    Storefront,
    "GET /pages/home",
    900,
    &[always(&SESSION), always(&LIST_PRODUCTS), sometimes(0.5, &READ_BASKET), always(&RENDER)],
);
static SHOW_PRODUCT: Operation = http(
    Storefront,
    "GET /pages/product/{sku}",
    800,
    &[
        always(&SESSION),
        always(&GET_PRODUCT),
        sometimes(0.6, &AVAILABILITY),
        sometimes(0.4, &READ_BASKET),
        always(&RENDER),
    ],
);
static SHOW_RESULTS: Operation = http(
    Storefront,
    "GET /pages/search",
    850,
    &[always(&SESSION), always(&QUERY_INDEX), repeated(2, 5, &GET_PRODUCT), always(&RENDER)],
);
static SHOW_ORDERS: Operation =
    http(Storefront, "GET /pages/orders", 700, &[always(&SESSION), always(&LIST_ORDERS), always(&RENDER)]);
static SESSION: Operation = redis(Storefront, "GET", "GET session:?", 240);
static RENDER: Operation = local(Storefront, "render page", 2_600, &[]);

// === catalogue, pricing, search ===

static LIST_PRODUCTS: Operation = rpc(
    Catalogue,
    "shop.catalogue.v1.Catalogue/ListFeatured",
    600,
    &[always(&CACHED_LIST), sometimes(0.3, &SELECT_FEATURED), always(&QUOTE)],
);
static GET_PRODUCT: Operation = rpc(
    Catalogue,
    "shop.catalogue.v1.Catalogue/GetProduct",
    420,
    &[sometimes(0.7, &SELECT_PRODUCT), sometimes(0.8, &QUOTE)],
);
static CACHED_LIST: Operation = redis(Catalogue, "MGET", "MGET featured:? featured:? featured:?", 260);
static SELECT_FEATURED: Operation = sql(
    Catalogue,
    "SELECT product",
    "SELECT sku, title, price_cents, image FROM product WHERE featured AND locale = $1 ORDER BY rank LIMIT 24",
    3_100,
);
static SELECT_PRODUCT: Operation = sql(
    Catalogue,
    "SELECT product",
    "SELECT sku, title, description, price_cents FROM product WHERE sku = $1",
    1_400,
);
static QUOTE: Operation = rpc(Pricing, "shop.pricing.v1.Pricing/Quote", 310, &[sometimes(0.5, &RATES)]);
static RATES: Operation = redis(Pricing, "HGETALL", "HGETALL rates:?", 210);
static QUERY_INDEX: Operation =
    http(Search, "POST /indexes/{index}/query", 4_800, &[always(&PARSE_WORDS), always(&RANK)]);
static PARSE_WORDS: Operation = local(Search, "analyse words", 350, &[]);
static RANK: Operation = local(Search, "rank hits", 2_100, &[]);

// === basket ===

static ADD_LINE: Operation = about(
    About::Basket,
    http(
        Basket,
        "POST /baskets/{id}/lines",
        700,
        &[always(&LOAD_BASKET), always(&GET_PRODUCT), always(&AVAILABILITY), always(&STORE_BASKET)],
    ),
);
static READ_BASKET: Operation =
    about(About::Basket, http(Basket, "GET /baskets/{id}", 400, &[always(&LOAD_BASKET)]));
static LOAD_BASKET: Operation = redis(Basket, "GET", "GET basket:?", 230);
static STORE_BASKET: Operation = redis(Basket, "SET", "SET basket:? ? EX 86400", 260);

// === checkout and what follows ===

static CHECK_OUT: Operation = http(
    Checkout,
    "POST /checkouts",
    1_300,
    &[
        always(&READ_BASKET),
        always(&VALIDATE),
        repeated(1, 4, &RESERVE),
        always(&CHARGE),
        always(&CREATE_ORDER),
        always(&ANNOUNCE),
    ],
);
static VALIDATE: Operation = local(Checkout, "validate basket", 800, &[repeated(1, 3, &QUOTE)]);
static AVAILABILITY: Operation =
    rpc(Stock, "shop.stock.v1.Stock/Availability", 350, &[always(&SELECT_STOCK)]);
static RESERVE: Operation =
    rpc(Stock, "shop.stock.v1.Stock/Reserve", 500, &[always(&SELECT_STOCK), always(&UPDATE_STOCK)]);
static SELECT_STOCK: Operation =
    sql(Stock, "SELECT stock", "SELECT warehouse, quantity FROM stock WHERE sku = $1", 1_100);
static UPDATE_STOCK: Operation = sql(
    Stock,
    "UPDATE stock",
    "UPDATE stock SET reserved = reserved + $2 WHERE sku = $1 AND quantity - reserved >= $2",
    2_400,
);
static CHARGE: Operation =
    http(Payments, "POST /charges", 2_200, &[always(&SCORE), always(&ACQUIRER), always(&INSERT_CHARGE)]);
static SCORE: Operation = rpc(Fraud, "shop.fraud.v1.Fraud/Score", 9_500, &[always(&FEATURES)]);
static FEATURES: Operation = redis(Fraud, "MGET", "MGET customer:? card:? address:?", 420);
static ACQUIRER: Operation = local(Payments, "authorise with acquirer", 48_000, &[]);
static INSERT_CHARGE: Operation = sql(
    Payments,
    "INSERT charge",
    "INSERT INTO charge (id, order_id, amount_cents, currency, state) VALUES ($1, $2, $3, $4, $5)",
    2_700,
);
static CREATE_ORDER: Operation = about(
    About::Order,
    rpc(Orders, "shop.orders.v1.Orders/Create", 900, &[always(&INSERT_ORDER), repeated(1, 4, &INSERT_LINE)]),
);
static INSERT_ORDER: Operation = sql(
    Orders,
    "INSERT orders",
    "INSERT INTO orders (id, customer_id, total_cents, placed_at) VALUES ($1, $2, $3, now())",
    2_500,
);
static INSERT_LINE: Operation = sql(
    Orders,
    "INSERT order_line",
    "INSERT INTO order_line (order_id, sku, quantity, price_cents) VALUES ($1, $2, $3, $4)",
    1_600,
);
static LIST_ORDERS: Operation =
    rpc(Orders, "shop.orders.v1.Orders/List", 700, &[always(&SELECT_ORDERS), repeated(1, 3, &GET_PRODUCT)]);
static SELECT_ORDERS: Operation = sql(
    Orders,
    "SELECT orders",
    "SELECT id, total_cents, placed_at, state FROM orders WHERE customer_id = $1 ORDER BY placed_at DESC LIMIT 10",
    3_300,
);
static ANNOUNCE: Operation = Operation {
    service: Mailer,
    name: "order-placed",
    via: Via::Queue { topic: "order-placed" },
    about: About::Nothing,
    micros: 1_200,
    calls: &[always(&SEND_MAIL)],
};
static SEND_MAIL: Operation = local(Mailer, "send confirmation", 22_000, &[]);
