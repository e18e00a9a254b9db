//! What the services of the shop do, and whom they call for it: about 110 operations, and as many
//! client sides again as there are callers.
//!
//! Data only. How long things take and what fails is drawn in `walk.rs`; attributes are in `recipe.rs`.

use super::services::Service::{self, *};

/// Something that a service does.
pub(super) struct Operation {
    pub(super) service: Service,
    pub(super) name: &'static str,
    pub(super) via: Via,
    /// What it typically takes itself, calls not counted.
    pub(super) micros: u32,
    /// How often it fails of itself.
    pub(super) failure: f64,
    pub(super) calls: &'static [Call],
}

/// How an operation is reached, which decides kind and attributes of its spans.
#[derive(Clone, Copy)]
pub(super) enum Via {
    /// A request; the name is method and route. Paths, keys and texts have places to fill: `{user}`.
    Http { path: &'static str },
    /// A remote call; the name is service and method.
    Rpc,
    /// A message that a group of consumers takes from a topic.
    Message { topic: &'static str, group: &'static str },
    /// A statement, as the caller tells it; the name is verb, namespace and collection.
    Statement { system: &'static str, text: &'static str },
    /// A look into a cache, as the caller tells it; the name is the verb.
    Cache { key: &'static str },
    /// A request to somebody outside, as the caller tells it; the name ends with the method.
    Outside { host: &'static str, path: &'static str },
    /// A step inside a service.
    Step { file: &'static str },
}

/// An operation calls another, in this share of cases and so many times.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: &'static Operation,
    pub(super) chance: f64,
    pub(super) times: (u32, u32),
    /// The next call does not wait for this one.
    pub(super) parallel: bool,
}

/// What shoppers do, all of it through the edge, with how often they do it.
pub(super) static ENTRIES: [(f64, &Operation); 15] = [
    (16.0, &HOME_PAGE),
    (24.0, &PRODUCT_PAGE),
    (10.0, &CATEGORY_PAGE),
    (12.0, &SEARCH_PAGE),
    (6.0, &BASKET_PAGE),
    (6.0, &FILL_BASKET),
    (5.0, &CHECKOUT_PAGE),
    (4.0, &ORDERS_PAGE),
    (0.8, &WRITE_REVIEW),
    (0.3, &USE_VOUCHER),
    (8.0, &MOBILE_HOME),
    (10.0, &MOBILE_PRODUCT),
    (3.0, &MOBILE_FILL_BASKET),
    (2.5, &MOBILE_CHECKOUT),
    (9.0, &IMAGE),
];

/// How often the export of the catalogue runs, on the scale of [`ENTRIES`].
pub(super) const EXPORT_SHARE: f64 = 0.15;

// === how operations are written down ===

const fn operation(service: Service, name: &'static str, via: Via, micros: u32) -> Operation {
    Operation { service, name, via, micros, failure: 0.0, calls: &[] }
}

const fn http(
    service: Service,
    name: &'static str,
    path: &'static str,
    micros: u32,
    calls: &'static [Call],
) -> Operation {
    operation(service, name, Via::Http { path }, micros).failing(0.018).calling(calls)
}

const fn rpc(service: Service, name: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    operation(service, name, Via::Rpc, micros).failing(0.02).calling(calls)
}

const fn sql(service: Service, name: &'static str, text: &'static str, micros: u32) -> Operation {
    operation(service, name, Via::Statement { system: "postgresql", text }, micros).failing(0.0165)
}

const fn cache(service: Service, name: &'static str, key: &'static str) -> Operation {
    operation(service, name, Via::Cache { key }, 350).failing(0.0138)
}

const fn step(service: Service, name: &'static str, file: &'static str, micros: u32) -> Operation {
    operation(service, name, Via::Step { file }, micros)
}

const fn message(service: Service, group: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    operation(service, "orders process", Via::Message { topic: "orders", group }, micros)
        .failing(0.022)
        .calling(calls)
}

const fn always(operation: &'static Operation) -> Call {
    Call { operation, chance: 1.0, times: (1, 1), parallel: false }
}

const fn sometimes(chance: f64, operation: &'static Operation) -> Call {
    Call { chance, ..always(operation) }
}

const fn repeated(least: u32, most: u32, operation: &'static Operation) -> Call {
    Call { times: (least, most), ..always(operation) }
}

/// A call beside others: front ends ask for all parts of a page at once.
const fn part(chance: f64, operation: &'static Operation) -> Call {
    Call { chance, parallel: true, ..always(operation) }
}

// === impl Operation ===

impl Operation {
    const fn failing(mut self, share: f64) -> Self {
        self.failure = share;
        self
    }

    const fn calling(mut self, calls: &'static [Call]) -> Self {
        self.calls = calls;
        self
    }
}

// === identity and accounts ===

static READ_SESSION: Operation = cache(Identity, "GET", "session:{session}");
static WRITE_SESSION: Operation = cache(Identity, "SETEX", "session:{session}");
static SELECT_ACCOUNT: Operation = sql(
    Accounts,
    "SELECT users.accounts",
    "SELECT id, email, name, locale, tier FROM accounts WHERE id = $1",
    1_600,
);
static SELECT_ADDRESSES: Operation = sql(
    Accounts,
    "SELECT users.addresses",
    "SELECT id, street, city, postcode, country FROM addresses WHERE account_id = $1 ORDER BY is_default DESC",
    1_600,
);
static GET_ACCOUNT: Operation = rpc(Accounts, "accounts.v1.Accounts/Get", 1_000, &[always(&SELECT_ACCOUNT)]);
static LIST_ADDRESSES: Operation =
    rpc(Accounts, "accounts.v1.Accounts/ListAddresses", 1_000, &[always(&SELECT_ADDRESSES)]);
static CHECK_TOKEN: Operation = rpc(
    Identity,
    "identity.v1.Identity/CheckToken",
    600,
    &[always(&READ_SESSION), sometimes(0.08, &GET_ACCOUNT), sometimes(0.01, &WRITE_SESSION)],
);

// === catalogue, search, suggestions, adverts ===

static READ_PRODUCT: Operation = cache(Catalogue, "GET", "product:{product}");
static READ_PRODUCTS: Operation = cache(Catalogue, "MGET", "product:{product}");
static WRITE_PRODUCT: Operation = cache(Catalogue, "SET", "product:{product}");
static SELECT_PRODUCTS: Operation = sql(
    Catalogue,
    "SELECT catalogue.products",
    "SELECT p.id, p.sku, p.title, p.price, p.currency FROM products p WHERE p.id = ANY($1)",
    3_100,
);
static SELECT_VARIANTS: Operation = sql(
    Catalogue,
    "SELECT catalogue.variants",
    "SELECT id, product_id, colour, size, stock_hint FROM variants WHERE product_id = $1",
    1_600,
);
static GET_PRODUCT: Operation = rpc(
    Catalogue,
    "catalogue.v1.Catalogue/GetProduct",
    800,
    &[
        always(&READ_PRODUCT),
        sometimes(0.3, &SELECT_PRODUCTS),
        sometimes(0.6, &SELECT_VARIANTS),
        sometimes(0.3, &WRITE_PRODUCT),
    ],
);
static LIST_PRODUCTS: Operation = rpc(
    Catalogue,
    "catalogue.v1.Catalogue/ListProducts",
    2_000,
    &[always(&SELECT_PRODUCTS), sometimes(0.7, &READ_PRODUCTS)],
);
static GET_PRODUCTS: Operation = rpc(
    Catalogue,
    "catalogue.v1.Catalogue/GetMany",
    1_100,
    &[
        always(&READ_PRODUCTS),
        sometimes(0.4, &SELECT_PRODUCTS),
        Call { chance: 0.4, ..repeated(1, 3, &WRITE_PRODUCT) },
    ],
);
static SEARCH_INDEX: Operation = operation(
    Search,
    "search products.products-v7",
    Via::Statement {
        system: "elasticsearch",
        text: r#"{"query":{"multi_match":{"query":"?","fields":["title^3","description"]}},"size":?}"#,
    },
    14_000,
)
.failing(0.024);
static RANK: Operation = step(Search, "Ranker.rank", "shop/search/Ranker.java", 4_000);
static FIND: Operation = rpc(
    Search,
    "search.v1.Search/Find",
    3_000,
    &[always(&SEARCH_INDEX), always(&RANK), sometimes(0.8, &GET_PRODUCTS)],
);
static COMPLETE: Operation = rpc(Search, "search.v1.Search/Complete", 1_000, &[always(&SEARCH_INDEX)]);
static READ_SUGGESTIONS: Operation = cache(Suggestions, "ZREVRANGE", "suggestions:user:{user}");
static INFER: Operation = step(Suggestions, "model.infer", "suggestions/model.py", 9_000).failing(0.024);
static SUGGEST: Operation = rpc(
    Suggestions,
    "suggestions.v1.Suggestions/List",
    1_600,
    &[always(&READ_SUGGESTIONS), sometimes(0.5, &INFER), always(&GET_PRODUCTS)],
);
static LOOK_UP_ADVERTS: Operation = step(Adverts, "AdvertIndex.find", "shop/adverts/AdvertIndex.java", 800);
static GET_ADVERTS: Operation =
    rpc(Adverts, "adverts.v1.Adverts/Get", 600, &[repeated(1, 2, &LOOK_UP_ADVERTS)]).failing(0.03);

// === basket, pricing, vouchers, stock ===

static READ_BASKET: Operation = cache(Basket, "HGETALL", "basket:{user}");
static WRITE_BASKET: Operation = cache(Basket, "HMSET", "basket:{user}");
static KEEP_BASKET: Operation = cache(Basket, "EXPIRE", "basket:{user}");
static APPLY_RULES: Operation = step(Pricing, "apply_rules", "src/rules/engine.rs", 900);
static SELECT_PROMOTIONS: Operation = sql(
    Pricing,
    "SELECT pricing.promotions",
    "SELECT id, kind, percent_off, valid_until FROM promotions WHERE code = $1 AND active",
    1_600,
);
static QUOTE: Operation =
    rpc(Pricing, "pricing.v1.Pricing/Quote", 400, &[always(&APPLY_RULES)]).failing(0.015);
static PROMOTE: Operation = rpc(
    Pricing,
    "pricing.v1.Pricing/ApplyPromotion",
    500,
    &[always(&SELECT_PROMOTIONS), always(&APPLY_RULES)],
)
.failing(0.03);
static GET_BASKET: Operation =
    rpc(Basket, "basket.v1.Basket/Get", 700, &[always(&READ_BASKET), sometimes(0.8, &QUOTE)]);
static ADD_TO_BASKET: Operation = rpc(
    Basket,
    "basket.v1.Basket/Add",
    800,
    &[always(&READ_BASKET), always(&GET_PRODUCT), always(&WRITE_BASKET), always(&KEEP_BASKET)],
);
static EMPTY_BASKET: Operation =
    rpc(Basket, "basket.v1.Basket/Empty", 400, &[always(&WRITE_BASKET), always(&KEEP_BASKET)]);
static SELECT_VOUCHER: Operation = sql(
    Vouchers,
    "SELECT vouchers.cards",
    "SELECT id, balance, currency FROM cards WHERE code_hash = $1 FOR UPDATE",
    1_600,
);
static UPDATE_VOUCHER: Operation =
    sql(Vouchers, "UPDATE vouchers.cards", "UPDATE cards SET balance = balance - $2 WHERE id = $1", 1_600);
static REDEEM: Operation = http(
    Vouchers,
    "POST /vouchers/redeem",
    "/vouchers/redeem",
    1_200,
    &[always(&SELECT_VOUCHER), sometimes(0.9, &UPDATE_VOUCHER)],
)
.failing(0.05);
static SELECT_STOCK: Operation = operation(
    Stock,
    "SELECT stock.stock",
    Via::Statement { system: "mysql", text: "SELECT sku, on_hand, reserved FROM stock WHERE sku IN (?)" },
    1_600,
)
.failing(0.0165);
static UPDATE_STOCK: Operation = operation(
    Stock,
    "UPDATE stock.stock",
    Via::Statement {
        system: "mysql",
        text: "UPDATE stock SET reserved = reserved + ? WHERE sku = ? AND on_hand - reserved >= ?",
    },
    2_400,
)
.failing(0.024);
static CACHED_STOCK: Operation = step(Stock, "StockCache.get", "shop/stock/StockCache.java", 150);
static CHECK_STOCK: Operation =
    rpc(Stock, "stock.v1.Stock/Check", 600, &[always(&CACHED_STOCK), sometimes(0.4, &SELECT_STOCK)]);
static RESERVE: Operation =
    rpc(Stock, "stock.v1.Stock/Reserve", 900, &[always(&SELECT_STOCK), repeated(1, 3, &UPDATE_STOCK)]);

// === money ===

static READ_VELOCITY: Operation = cache(Fraud, "HMGET", "fraud:velocity:{user}");
static LOOK_UP_FEATURES: Operation = step(Fraud, "Features.find", "shop/fraud/Features.java", 1_900);
static SCORE: Operation =
    rpc(Fraud, "fraud.v1.Fraud/Score", 2_200, &[always(&READ_VELOCITY), repeated(1, 2, &LOOK_UP_FEATURES)]);
static TOKENISE: Operation = step(Payments, "tokenise card", "src/card/tokenise.js", 1_100);
static CONFIRM_PAYMENT: Operation = operation(
    Payments,
    "HTTP POST",
    Via::Outside { host: "api.psp.example.com", path: "/v1/payments/{order}/confirm" },
    180_000,
)
.failing(0.05);
static CHARGE: Operation = rpc(
    Payments,
    "payments.v1.Payments/Charge",
    3_000,
    &[always(&SCORE), always(&TOKENISE), always(&CONFIRM_PAYMENT)],
)
.failing(0.03);
static INSERT_ENTRY: Operation = sql(
    Ledger,
    "INSERT ledger.entries",
    "INSERT INTO entries (order_id, account, debit, credit) VALUES ($1, $2, $3, $4)",
    1_600,
);
static UPDATE_BALANCE: Operation = sql(
    Ledger,
    "UPDATE ledger.balances",
    "UPDATE balances SET amount = amount + $2 WHERE account = $1",
    1_600,
);
static BOOK: Operation =
    message(Ledger, "ledger", 1_400, &[repeated(2, 2, &INSERT_ENTRY), repeated(1, 2, &UPDATE_BALANCE)]);
static LEARN: Operation = message(Fraud, "fraud", 2_000, &[always(&READ_VELOCITY)]);

// === orders, shipping, mail ===

static RENDER_MAIL: Operation = step(Mailer, "render_template", "lib/templates.rb", 3_200);
static DELIVER_MAIL: Operation = step(Mailer, "smtp.deliver", "lib/delivery.rb", 41_000).failing(0.05);
static SEND_MAIL: Operation = http(
    Mailer,
    "POST /order_confirmation",
    "/order_confirmation",
    2_000,
    &[always(&RENDER_MAIL), always(&DELIVER_MAIL)],
);
static NOTIFY: Operation = message(Notifier, "notifier", 1_100, &[always(&SEND_MAIL)]);
static INSERT_ORDER: Operation = sql(
    Orders,
    "INSERT orders.orders",
    "INSERT INTO orders (id, account_id, total, currency, status) VALUES ($1, $2, $3, $4, 'placed')",
    2_800,
);
static INSERT_ITEM: Operation = sql(
    Orders,
    "INSERT orders.items",
    "INSERT INTO items (order_id, sku, quantity, unit_price) VALUES ($1, $2, $3, $4)",
    1_600,
);
static SELECT_ORDERS: Operation = sql(
    Orders,
    "SELECT orders.orders",
    "SELECT id, total, currency, status, placed_at FROM orders WHERE account_id = $1 ORDER BY placed_at DESC LIMIT $2",
    3_300,
);
static CREATE_ORDER: Operation = rpc(
    Orders,
    "orders.v1.Orders/Create",
    1_600,
    &[
        always(&INSERT_ORDER),
        repeated(1, 4, &INSERT_ITEM),
        always(&BOOK),
        always(&NOTIFY),
        sometimes(0.5, &LEARN),
    ],
);
static LIST_ORDERS: Operation = rpc(Orders, "orders.v1.Orders/List", 1_200, &[always(&SELECT_ORDERS)]);
static SELECT_ZONES: Operation = sql(
    Shipping,
    "SELECT shipping.zones",
    "SELECT zone, base, per_kilogram FROM zones WHERE country = $1",
    1_600,
);
static CARRIER_QUOTE: Operation = operation(
    Shipping,
    "POST",
    Via::Outside { host: "api.carrier.example.com", path: "/rates/v2/quotes?ref={order}" },
    95_000,
)
.failing(0.048);
static QUOTE_SHIPPING: Operation = rpc(
    Shipping,
    "shipping.v1.Shipping/Quote",
    700,
    &[always(&SELECT_ZONES), sometimes(0.4, &CARRIER_QUOTE)],
);
static SHIP: Operation = rpc(Shipping, "shipping.v1.Shipping/Ship", 900, &[always(&CARRIER_QUOTE)]);

// === checkout ===

static PREPARE_ITEMS: Operation =
    step(Checkout, "prepareItems", "checkout/prepare.go", 800).failing(0.015).calling(&[
        always(&GET_BASKET),
        Call { parallel: true, ..repeated(1, 3, &GET_PRODUCT) },
        always(&QUOTE_SHIPPING),
    ]);
static RESERVE_STOCK: Operation =
    step(Checkout, "reserveStock", "checkout/stock.go", 400).failing(0.015).calling(&[always(&RESERVE)]);
static PLACE_ORDER: Operation = rpc(
    Checkout,
    "checkout.v1.Checkout/PlaceOrder",
    2_000,
    &[
        always(&PREPARE_ITEMS),
        sometimes(0.3, &PROMOTE),
        always(&RESERVE_STOCK),
        always(&CHARGE),
        always(&SHIP),
        always(&EMPTY_BASKET),
        always(&CREATE_ORDER),
    ],
);

// === reviews and images ===

static FIND_REVIEWS: Operation = operation(
    Reviews,
    "find reviews.reviews",
    Via::Statement { system: "mongodb", text: r#"{"find":"reviews","filter":{"product_id":"?"},"limit":?}"# },
    2_900,
)
.failing(0.018);
static INSERT_REVIEW: Operation = operation(
    Reviews,
    "insert reviews.reviews",
    Via::Statement { system: "mongodb", text: r#"{"insert":"reviews","documents":"?"}"# },
    3_500,
)
.failing(0.018);
static LIST_REVIEWS: Operation =
    http(Reviews, "GET /reviews/{product_id}", "/reviews/{product}", 1_400, &[always(&FIND_REVIEWS)]);
static STORE_REVIEW: Operation =
    http(Reviews, "POST /reviews", "/reviews", 2_200, &[always(&GET_ACCOUNT), always(&INSERT_REVIEW)])
        .failing(0.042);
static IMAGE_CACHE: Operation = step(Images, "cache lookup", "src/cache.cc", 200);
static READ_IMAGE: Operation = step(Images, "read asset", "src/disk.cc", 900);
static RESIZE: Operation = step(Images, "resize", "src/resize.cc", 11_000).failing(0.018);
static IMAGE: Operation = http(
    Images,
    "GET /images/{id}",
    "/images/{product}.webp",
    500,
    &[always(&IMAGE_CACHE), always(&READ_IMAGE), sometimes(0.25, &RESIZE)],
);

// === the gateway: one route for each thing that front ends ask for ===

static ASK_PRODUCT: Operation = http(
    Gateway,
    "GET /api/products/{id}",
    "/api/products/{product}",
    800,
    &[always(&CHECK_TOKEN), always(&GET_PRODUCT), sometimes(0.7, &CHECK_STOCK)],
);
static ASK_PRODUCTS: Operation =
    http(Gateway, "GET /api/products", "/api/products", 900, &[always(&CHECK_TOKEN), always(&LIST_PRODUCTS)]);
static ASK_SEARCH: Operation = http(
    Gateway,
    "GET /api/search",
    "/api/search",
    700,
    &[always(&CHECK_TOKEN), sometimes(0.3, &COMPLETE), always(&FIND)],
);
static ASK_SUGGESTIONS: Operation =
    http(Gateway, "GET /api/suggestions", "/api/suggestions", 600, &[always(&SUGGEST)]);
static ASK_ADVERTS: Operation =
    http(Gateway, "GET /api/adverts", "/api/adverts", 400, &[always(&GET_ADVERTS)]);
static ASK_BASKET: Operation =
    http(Gateway, "GET /api/basket", "/api/basket", 700, &[always(&CHECK_TOKEN), always(&GET_BASKET)]);
static ASK_ADD: Operation = http(
    Gateway,
    "POST /api/basket/items",
    "/api/basket/items",
    800,
    &[always(&CHECK_TOKEN), always(&ADD_TO_BASKET), always(&CHECK_STOCK)],
);
static ASK_CHECKOUT: Operation = http(
    Gateway,
    "POST /api/checkout",
    "/api/checkout",
    1_000,
    &[always(&CHECK_TOKEN), always(&LIST_ADDRESSES), always(&PLACE_ORDER)],
);
static ASK_ORDERS: Operation =
    http(Gateway, "GET /api/orders", "/api/orders", 700, &[always(&CHECK_TOKEN), always(&LIST_ORDERS)]);
static ASK_REVIEWS: Operation =
    http(Gateway, "GET /api/reviews/{id}", "/api/reviews/{product}", 500, &[always(&LIST_REVIEWS)]);
static ASK_REVIEW: Operation =
    http(Gateway, "POST /api/reviews", "/api/reviews", 700, &[always(&CHECK_TOKEN), always(&STORE_REVIEW)]);
static ASK_VOUCHER: Operation = http(
    Gateway,
    "POST /api/vouchers/redeem",
    "/api/vouchers/redeem",
    700,
    &[always(&CHECK_TOKEN), always(&REDEEM)],
);

// === front ends ===

static RENDER_HOME: Operation = step(Storefront, "render route (app) /", "app/page.tsx", 8_000);
static RENDER_PRODUCT: Operation =
    step(Storefront, "render route (app) /product/[id]", "app/product/[id]/page.tsx", 6_000);
static RENDER_CHECKOUT: Operation =
    step(Storefront, "render route (app) /checkout", "app/checkout/page.tsx", 5_000);
static HOME_PAGE: Operation = http(
    Storefront,
    "GET /",
    "/",
    3_000,
    &[
        part(1.0, &ASK_PRODUCTS),
        part(0.8, &ASK_SUGGESTIONS),
        part(1.0, &ASK_ADVERTS),
        part(0.5, &ASK_BASKET),
        always(&RENDER_HOME),
    ],
);
static PRODUCT_PAGE: Operation = http(
    Storefront,
    "GET /product/[id]",
    "/product/{product}",
    3_000,
    &[
        part(1.0, &ASK_PRODUCT),
        part(0.6, &ASK_SUGGESTIONS),
        part(0.8, &ASK_REVIEWS),
        part(0.6, &ASK_ADVERTS),
        always(&RENDER_PRODUCT),
    ],
);
static CATEGORY_PAGE: Operation = http(
    Storefront,
    "GET /category/[slug]",
    "/category/{category}",
    3_000,
    &[part(1.0, &ASK_PRODUCTS), part(0.8, &ASK_ADVERTS)],
);
static SEARCH_PAGE: Operation =
    http(Storefront, "GET /search", "/search", 3_000, &[part(1.0, &ASK_SEARCH), part(0.7, &ASK_ADVERTS)]);
static BASKET_PAGE: Operation =
    http(Storefront, "GET /basket", "/basket", 2_000, &[part(1.0, &ASK_BASKET), part(0.5, &ASK_SUGGESTIONS)]);
static FILL_BASKET: Operation =
    http(Storefront, "POST /basket", "/basket", 2_000, &[part(1.0, &ASK_ADD), part(1.0, &ASK_BASKET)]);
static CHECKOUT_PAGE: Operation = http(
    Storefront,
    "POST /checkout",
    "/checkout",
    3_000,
    &[part(0.4, &ASK_BASKET), part(1.0, &ASK_CHECKOUT), always(&RENDER_CHECKOUT)],
);
static ORDERS_PAGE: Operation = http(
    Storefront,
    "GET /account/orders",
    "/account/orders",
    2_000,
    &[part(1.0, &ASK_ORDERS), part(0.4, &ASK_BASKET)],
);
static WRITE_REVIEW: Operation = http(
    Storefront,
    "POST /product/[id]/review",
    "/product/{product}/review",
    2_000,
    &[part(1.0, &ASK_REVIEW)],
);
static USE_VOUCHER: Operation =
    http(Storefront, "POST /voucher", "/voucher", 2_000, &[part(1.0, &ASK_VOUCHER), part(1.0, &ASK_BASKET)]);
static MOBILE_LOGIN: Operation = step(Mobile, "middleware - auth", "src/middleware/auth.js", 400);
static MOBILE_JOIN: Operation = step(Mobile, "aggregate", "src/aggregate.js", 1_200);
static MOBILE_HOME: Operation = http(
    Mobile,
    "GET /v1/home",
    "/v1/home",
    2_000,
    &[
        always(&MOBILE_LOGIN),
        part(1.0, &ASK_PRODUCTS),
        part(1.0, &ASK_SUGGESTIONS),
        part(0.6, &ASK_BASKET),
        sometimes(0.8, &MOBILE_JOIN),
    ],
);
static MOBILE_PRODUCT: Operation = http(
    Mobile,
    "GET /v1/product/:id",
    "/v1/product/{product}",
    2_000,
    &[always(&MOBILE_LOGIN), part(1.0, &ASK_PRODUCT), part(0.7, &ASK_REVIEWS), sometimes(0.8, &MOBILE_JOIN)],
);
static MOBILE_FILL_BASKET: Operation = http(
    Mobile,
    "POST /v1/basket/items",
    "/v1/basket/items",
    2_000,
    &[always(&MOBILE_LOGIN), part(1.0, &ASK_ADD)],
);
static MOBILE_CHECKOUT: Operation = http(
    Mobile,
    "POST /v1/checkout",
    "/v1/checkout",
    2_000,
    &[always(&MOBILE_LOGIN), part(1.0, &ASK_CHECKOUT), sometimes(0.8, &MOBILE_JOIN)],
);

// === jobs: where the long traces come from ===

static SELECT_CHUNK: Operation = sql(
    Batch,
    "SELECT catalogue.products",
    "SELECT id, sku, price FROM products WHERE id > $1 ORDER BY id LIMIT $2",
    5_000,
);
static UPDATE_PRICE: Operation = sql(
    Batch,
    "UPDATE catalogue.products",
    "UPDATE products SET price = $2, updated_at = now() WHERE id = $1",
    2_000,
);
static UPLOAD: Operation = operation(
    Batch,
    "PUT",
    Via::Outside { host: "exports.storage.example.com", path: "/exports-prod/{random}.parquet" },
    22_000,
)
.failing(0.021);
pub(super) static REPRICE_CHUNK: Operation = step(Batch, "reprice_chunk", "batch_jobs/reprice.py", 2_000)
    .failing(0.015)
    .calling(&[always(&SELECT_CHUNK), repeated(8, 16, &QUOTE), repeated(10, 20, &UPDATE_PRICE)]);
static EXPORT_CHUNK: Operation = step(Batch, "export_chunk", "batch_jobs/export.py", 2_000)
    .failing(0.015)
    .calling(&[always(&SELECT_CHUNK), always(&UPLOAD)]);
/// Its chunks are as many as the trace is to have spans.
pub(super) static REPRICE: Operation = step(Batch, "job.reprice-catalogue", "batch_jobs/reprice.py", 5_000);
pub(super) static EXPORT: Operation = step(Batch, "job.export-catalogue", "batch_jobs/export.py", 5_000)
    .calling(&[repeated(3, 12, &EXPORT_CHUNK)]);
