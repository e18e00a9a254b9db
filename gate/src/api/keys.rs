//! `/api/v1/keys`: list, create and revoke keys.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse as _;
use spandrel_proto::TenantsError;

use super::answers::{CreateKey, CreatedKey, KeyAnswer, KeysAnswer};
use super::{Answer, body};
use crate::authorize::{Access, Gate};
use crate::identity::Identity;
use crate::keys::{Key, KeyError, Listed, NewKey};
use crate::recorded::Subject;
use crate::refusal::Refusal;
use crate::tenants::TenantGrant;

type Asker = Option<Extension<Arc<Identity>>>;

/// An admin sees and changes the keys of its own tenants.
pub(super) async fn list(State(gate): State<Arc<Gate>>, asker: Asker, uri: Uri) -> Answer {
    body::require_no_parameters(&uri)?;
    let keys = on_keys(&gate, |gate| Ok(gate.keys().list())).await?;
    let keys = keys.into_iter().filter(|listed| may_change(&asker, &listed.key)).map(KeyAnswer::from);
    body::json(StatusCode::OK, &KeysAnswer { keys: keys.collect() })
}

pub(super) async fn create(State(gate): State<Arc<Gate>>, asker: Asker, request: Request) -> Answer {
    let CreateKey { role, tenant, name, lifetime_nano } = body::read(request).await?;
    let tenants = match tenant {
        Some(tenant) => {
            tenant.parse().map_err(|error: TenantsError| Refusal::BadRequest(error.to_string()))?
        }
        None => TenantGrant::default(),
    };
    let lasts = lifetime_nano.map(Duration::from_nanos);
    let new = NewKey { role, tenants, name: name.unwrap_or_default(), lasts };
    // What can never be right is refused as such, also where nothing may be changed.
    new.check_name().map_err(|error| Refusal::BadRequest(error.to_string()))?;
    require_access(&gate)?;
    if gate.roles().find(&new.role).is_none() {
        return Err(Refusal::UnknownRole(new.role.to_string(), gate.roles().names().join(", ")));
    }
    if let Some(Extension(asker)) = asker
        && !new.tenants.is_within(&asker.tenants)
    {
        return Err(Refusal::Beyond(asker.tenants.to_string()));
    }
    let (key, token) = on_keys(&gate, move |gate| gate.keys().create(new)).await?;
    let about = KeyAnswer::from(Listed { key, used: None });
    let id = about.id.clone();
    let mut response =
        body::json(StatusCode::CREATED, &CreatedKey { key: token.text().reveal().to_owned(), about })?;
    response.extensions_mut().insert(Subject(id));
    Ok(response)
}

pub(super) async fn revoke(
    State(gate): State<Arc<Gate>>,
    asker: Asker,
    Path(id): Path<String>,
    uri: Uri,
) -> Answer {
    body::require_no_parameters(&uri)?;
    on_keys(&gate, move |gate| {
        let known = gate.keys().list().into_iter().find(|listed| listed.key.id == id);
        match known {
            Some(listed) if !may_change(&asker, &listed.key) => Err(KeyError::Unknown(id)),
            _ => gate.keys().revoke(&id),
        }
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn may_change(asker: &Asker, key: &Key) -> bool {
    match (asker, key.grant()) {
        (Some(Extension(asker)), Some(grant)) => grant.is_within(&asker.tenants),
        _ => true,
    }
}

/// Keys are not changed over HTTP while everybody is let in.
fn require_access(gate: &Gate) -> Result<(), Refusal> {
    if gate.access() == Access::Anonymous { Err(Refusal::WhileAnonymous) } else { Ok(()) }
}

/// Runs on a thread that may wait for the lock and the disk.
async fn on_keys<T: Send + 'static>(
    gate: &Arc<Gate>,
    work: impl FnOnce(&Gate) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Refusal> {
    require_access(gate)?;
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
