//! `GET /api/v1/me`: the caller, as the server knows it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri};

use super::answers::Me;
use super::{Answer, body};
use crate::authorize::Gate;
use crate::identity::Identity;
use crate::tenants::Tenancy;

pub(super) async fn get(
    State(gate): State<Arc<Gate>>,
    uri: Uri,
    identity: Option<Extension<Arc<Identity>>>,
) -> Answer {
    body::require_no_parameters(&uri)?;
    let me = identity.map_or_else(Me::default, |Extension(identity)| Me::from(&*identity));
    body::json(StatusCode::OK, &Me { multitenancy: gate.tenancy() == Tenancy::On, ..me })
}
