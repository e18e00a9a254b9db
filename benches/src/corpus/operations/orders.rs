//! Operations of a purchase: money, orders, shipping, mail.

use super::goods::{EMPTY_BASKET, GET_BASKET, GET_PRODUCT, PROMOTE, RESERVE};
use super::{
    Call, Operation, Via, always, cache, http, message, operation, repeated, rpc, sometimes, sql, step,
};
use crate::corpus::services::Service::*;

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
pub(super) static LIST_ORDERS: Operation =
    rpc(Orders, "orders.v1.Orders/List", 1_200, &[always(&SELECT_ORDERS)]);
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
pub(super) static PLACE_ORDER: Operation = rpc(
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
