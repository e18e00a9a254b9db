//! `/api/v1/keys`: list, create and revoke keys.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse as _;
use spandrel_proto::TenantId;

use super::answers::{CreateKey, CreatedKey, KeyAnswer, KeysAnswer};
use super::{Answer, body};
use crate::authorize::{Access, Gate};
use crate::keys::{KeyError, Listed, NewKey};
use crate::recorded::Subject;
use crate::refusal::Refusal;

pub(super) async fn list(State(gate): State<Arc<Gate>>, uri: Uri) -> Answer {
    body::require_no_parameters(&uri)?;
    let keys = on_keys(&gate, |gate| Ok(gate.keys().list())).await?;
    body::json(StatusCode::OK, &KeysAnswer { keys: keys.into_iter().map(KeyAnswer::from).collect() })
}

pub(super) async fn create(State(gate): State<Arc<Gate>>, request: Request) -> Answer {
    let CreateKey { role, tenant, name, lifetime_nano } = body::read(request).await?;
    let tenant = match tenant {
        Some(tenant) => TenantId::new(&tenant).map_err(|error| Refusal::BadRequest(error.to_string()))?,
        None => TenantId::default(),
    };
    let lasts = lifetime_nano.map(Duration::from_nanos);
    let new = NewKey { role, tenant, name: name.unwrap_or_default(), lasts };
    // What can never be right is refused as such, also where nothing may be changed.
    new.check_name().map_err(|error| Refusal::BadRequest(error.to_string()))?;
    let (key, token) = on_keys(&gate, move |gate| gate.keys().create(new)).await?;
    let about = KeyAnswer::from(Listed { key, used: None });
    let id = about.id.clone();
    let mut response =
        body::json(StatusCode::CREATED, &CreatedKey { key: token.text().reveal().to_owned(), about })?;
    response.extensions_mut().insert(Subject(id));
    Ok(response)
}

pub(super) async fn revoke(State(gate): State<Arc<Gate>>, Path(id): Path<String>, uri: Uri) -> Answer {
    body::require_no_parameters(&uri)?;
    on_keys(&gate, move |gate| gate.keys().revoke(&id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Runs on a thread that may wait for the lock and the disk.
async fn on_keys<T: Send + 'static>(
    gate: &Arc<Gate>,
    work: impl FnOnce(&Gate) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Refusal> {
    if gate.access() == Access::Anonymous {
        return Err(Refusal::WhileAnonymous);
    }
    let gate = gate.clone();
    let done = tokio::task::spawn_blocking(move || work(&gate)).await;
    let done = done.map_err(|error| Refusal::Internal(error.to_string()))?;
    done.map_err(|error| match error {
        KeyError::Unknown(_) => Refusal::UnknownKey,
        KeyError::Name => Refusal::BadRequest(error.to_string()),
        KeyError::TooMany => Refusal::TooManyKeys,
        KeyError::File(_) | KeyError::Random(_) => {
            tracing::error!(%error, "keys cannot be read or changed");
            Refusal::Internal("the keys cannot be read or changed; the log of the server says why".to_owned())
        }
    })
}
