//! Pages of the shop: front ends, and the gateway that they call.

use super::goods::*;
use super::orders::{LIST_ORDERS, PLACE_ORDER};
use super::{Operation, always, http, part, sometimes, step};
use crate::corpus::services::Service::*;

// === the gateway: one route for each request of front ends ===

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
pub(super) static HOME_PAGE: Operation = http(
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
pub(super) static PRODUCT_PAGE: Operation = http(
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
pub(super) static CATEGORY_PAGE: Operation = http(
    Storefront,
    "GET /category/[slug]",
    "/category/{category}",
    3_000,
    &[part(1.0, &ASK_PRODUCTS), part(0.8, &ASK_ADVERTS)],
);
pub(super) static SEARCH_PAGE: Operation =
    http(Storefront, "GET /search", "/search", 3_000, &[part(1.0, &ASK_SEARCH), part(0.7, &ASK_ADVERTS)]);
pub(super) static BASKET_PAGE: Operation =
    http(Storefront, "GET /basket", "/basket", 2_000, &[part(1.0, &ASK_BASKET), part(0.5, &ASK_SUGGESTIONS)]);
pub(super) static FILL_BASKET: Operation =
    http(Storefront, "POST /basket", "/basket", 2_000, &[part(1.0, &ASK_ADD), part(1.0, &ASK_BASKET)]);
pub(super) static CHECKOUT_PAGE: Operation = http(
    Storefront,
    "POST /checkout",
    "/checkout",
    3_000,
    &[part(0.4, &ASK_BASKET), part(1.0, &ASK_CHECKOUT), always(&RENDER_CHECKOUT)],
);
pub(super) static ORDERS_PAGE: Operation = http(
    Storefront,
    "GET /account/orders",
    "/account/orders",
    2_000,
    &[part(1.0, &ASK_ORDERS), part(0.4, &ASK_BASKET)],
);
pub(super) static WRITE_REVIEW: Operation = http(
    Storefront,
    "POST /product/[id]/review",
    "/product/{product}/review",
    2_000,
    &[part(1.0, &ASK_REVIEW)],
);
pub(super) static USE_VOUCHER: Operation =
    http(Storefront, "POST /voucher", "/voucher", 2_000, &[part(1.0, &ASK_VOUCHER), part(1.0, &ASK_BASKET)]);
static MOBILE_LOGIN: Operation = step(Mobile, "middleware - auth", "src/middleware/auth.js", 400);
static MOBILE_JOIN: Operation = step(Mobile, "aggregate", "src/aggregate.js", 1_200);
pub(super) static MOBILE_HOME: Operation = http(
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
pub(super) static MOBILE_PRODUCT: Operation = http(
    Mobile,
    "GET /v1/product/:id",
    "/v1/product/{product}",
    2_000,
    &[always(&MOBILE_LOGIN), part(1.0, &ASK_PRODUCT), part(0.7, &ASK_REVIEWS), sometimes(0.8, &MOBILE_JOIN)],
);
pub(super) static MOBILE_FILL_BASKET: Operation = http(
    Mobile,
    "POST /v1/basket/items",
    "/v1/basket/items",
    2_000,
    &[always(&MOBILE_LOGIN), part(1.0, &ASK_ADD)],
);
pub(super) static MOBILE_CHECKOUT: Operation = http(
    Mobile,
    "POST /v1/checkout",
    "/v1/checkout",
    2_000,
    &[always(&MOBILE_LOGIN), part(1.0, &ASK_CHECKOUT), sometimes(0.8, &MOBILE_JOIN)],
);
