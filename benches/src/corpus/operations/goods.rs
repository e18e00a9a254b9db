//! Operations on goods: identity, catalogue, prices and stock.

use super::{Call, Operation, Via, always, cache, http, operation, repeated, rpc, sometimes, sql, step};
use crate::corpus::services::Service::*;

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
pub(super) static LIST_ADDRESSES: Operation =
    rpc(Accounts, "accounts.v1.Accounts/ListAddresses", 1_000, &[always(&SELECT_ADDRESSES)]);
pub(super) static CHECK_TOKEN: Operation = rpc(
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
pub(super) static GET_PRODUCT: Operation = rpc(
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
pub(super) static LIST_PRODUCTS: Operation = rpc(
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
pub(super) static FIND: Operation = rpc(
    Search,
    "search.v1.Search/Find",
    3_000,
    &[always(&SEARCH_INDEX), always(&RANK), sometimes(0.8, &GET_PRODUCTS)],
);
pub(super) static COMPLETE: Operation =
    rpc(Search, "search.v1.Search/Complete", 1_000, &[always(&SEARCH_INDEX)]);
static READ_SUGGESTIONS: Operation = cache(Suggestions, "ZREVRANGE", "suggestions:user:{user}");
static INFER: Operation = step(Suggestions, "model.infer", "suggestions/model.py", 9_000).failing(0.024);
pub(super) static SUGGEST: Operation = rpc(
    Suggestions,
    "suggestions.v1.Suggestions/List",
    1_600,
    &[always(&READ_SUGGESTIONS), sometimes(0.5, &INFER), always(&GET_PRODUCTS)],
);
static LOOK_UP_ADVERTS: Operation = step(Adverts, "AdvertIndex.find", "shop/adverts/AdvertIndex.java", 800);
pub(super) static GET_ADVERTS: Operation =
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
pub(super) static QUOTE: Operation =
    rpc(Pricing, "pricing.v1.Pricing/Quote", 400, &[always(&APPLY_RULES)]).failing(0.015);
pub(super) static PROMOTE: Operation = rpc(
    Pricing,
    "pricing.v1.Pricing/ApplyPromotion",
    500,
    &[always(&SELECT_PROMOTIONS), always(&APPLY_RULES)],
)
.failing(0.03);
pub(super) static GET_BASKET: Operation =
    rpc(Basket, "basket.v1.Basket/Get", 700, &[always(&READ_BASKET), sometimes(0.8, &QUOTE)]);
pub(super) static ADD_TO_BASKET: Operation = rpc(
    Basket,
    "basket.v1.Basket/Add",
    800,
    &[always(&READ_BASKET), always(&GET_PRODUCT), always(&WRITE_BASKET), always(&KEEP_BASKET)],
);
pub(super) static EMPTY_BASKET: Operation =
    rpc(Basket, "basket.v1.Basket/Empty", 400, &[always(&WRITE_BASKET), always(&KEEP_BASKET)]);
static SELECT_VOUCHER: Operation = sql(
    Vouchers,
    "SELECT vouchers.cards",
    "SELECT id, balance, currency FROM cards WHERE code_hash = $1 FOR UPDATE",
    1_600,
);
static UPDATE_VOUCHER: Operation =
    sql(Vouchers, "UPDATE vouchers.cards", "UPDATE cards SET balance = balance - $2 WHERE id = $1", 1_600);
pub(super) static REDEEM: Operation = http(
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
pub(super) static CHECK_STOCK: Operation =
    rpc(Stock, "stock.v1.Stock/Check", 600, &[always(&CACHED_STOCK), sometimes(0.4, &SELECT_STOCK)]);
pub(super) static RESERVE: Operation =
    rpc(Stock, "stock.v1.Stock/Reserve", 900, &[always(&SELECT_STOCK), repeated(1, 3, &UPDATE_STOCK)]);

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
pub(super) static LIST_REVIEWS: Operation =
    http(Reviews, "GET /reviews/{product_id}", "/reviews/{product}", 1_400, &[always(&FIND_REVIEWS)]);
pub(super) static STORE_REVIEW: Operation =
    http(Reviews, "POST /reviews", "/reviews", 2_200, &[always(&GET_ACCOUNT), always(&INSERT_REVIEW)])
        .failing(0.042);
static IMAGE_CACHE: Operation = step(Images, "cache lookup", "src/cache.cc", 200);
static READ_IMAGE: Operation = step(Images, "read asset", "src/disk.cc", 900);
static RESIZE: Operation = step(Images, "resize", "src/resize.cc", 11_000).failing(0.018);
pub(super) static IMAGE: Operation = http(
    Images,
    "GET /images/{id}",
    "/images/{product}.webp",
    500,
    &[always(&IMAGE_CACHE), always(&READ_IMAGE), sometimes(0.25, &RESIZE)],
);
