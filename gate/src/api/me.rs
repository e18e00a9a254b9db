//! `GET /api/v1/me`: the caller, as the server knows it.

use std::sync::Arc;

use axum::Extension;
use axum::http::{StatusCode, Uri};

use super::answers::Me;
use super::{Answer, body};
use crate::identity::Identity;

pub(super) async fn get(uri: Uri, identity: Option<Extension<Arc<Identity>>>) -> Answer {
    body::require_no_parameters(&uri)?;
    let me = identity.map_or_else(Me::default, |Extension(identity)| Me::from(&*identity));
    body::json(StatusCode::OK, &me)
}
