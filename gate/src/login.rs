//! Logging in, by a password or at an identity provider: a session begins, and the audit log has a line of it. The routes
//! are in `api`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::request::Parts;

use crate::attempts::Origin;
use crate::audit::Record;
use crate::authorize::{Access, Gate};
use crate::identify::Method;
use crate::identity::{Identity, Via};
use crate::idp::{Begun, Callback, Oidc, OidcError};
use crate::recorded::{self, Sender};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::users::LoginError;

impl Gate {
    /// Checks a name and a password, and begins a session.
    pub(crate) async fn login(
        &self,
        parts: &Parts,
        name: &str,
        password: Secret,
    ) -> Result<(Secret, Identity), Refusal> {
        self.require_asking()?;
        if !self.config.methods.contains(&Method::Users) {
            return Err(Refusal::NotFound);
        }
        let address = self.identifier.client(parts);
        let result = self.users.login(address.map(Origin::of), name, password).await.map_err(Refusal::from);
        // A name that is no user's may be a password that was typed into the wrong field.
        let who = self.users.has(name).then(|| name.to_owned());
        self.recorded(parts, address, who, result).await
    }

    /// Begins a login at the identity provider.
    pub(crate) async fn begin_oidc(&self, next: &str) -> Result<Begun, Refusal> {
        Ok(self.require_oidc()?.begin(next).await?)
    }

    /// Ends a login at the identity provider, and begins a session. Returns the path to go to as well.
    pub(crate) async fn finish_oidc(
        &self,
        parts: &Parts,
        callback: &Callback,
        ticket: Option<&Secret>,
    ) -> Result<(Secret, String), Refusal> {
        let oidc = self.require_oidc()?;
        let (address, now) = (self.identifier.client(parts), Instant::now());
        let origin = address.map(Origin::of);
        if let Some(wait) = origin.and_then(|origin| self.oidc_attempts.wait(&origin, now)) {
            return Err(Refusal::TooManyAttempts(wait));
        }
        let finished = oidc.finish(callback, ticket.map(Secret::reveal)).await;
        if finished.as_ref().is_err_and(OidcError::is_guess) {
            origin.and_then(|origin| self.oidc_attempts.fail(origin, now));
        }
        let (result, next) = match finished {
            Ok((identity, next)) => {
                let token = self.users.begin(identity.clone()).map_err(Refusal::from);
                (token.map(|token| (token, identity)), next)
            }
            Err(error) => (Err(error.into()), String::new()),
        };
        let (token, _) = self.recorded(parts, address, None, result).await?;
        Ok((token, next))
    }

    /// Ends a session. Returns where the browser ends the one at the identity provider, if it has one there.
    pub(crate) async fn logout(&self, token: &Secret) -> Option<String> {
        let ended = self.users.logout(token)?;
        match (&ended.via, &self.oidc) {
            (Via::Oidc(_), Some(oidc)) => oidc.end_session().await,
            _ => None,
        }
    }

    pub(crate) fn session_lifetime(&self) -> Duration {
        self.users.session_lifetime()
    }

    /// The identity provider, where one is configured.
    pub(crate) fn require_oidc(&self) -> Result<&Oidc, Refusal> {
        self.require_asking()?;
        self.oidc.as_ref().ok_or(Refusal::NotFound)
    }

    fn require_asking(&self) -> Result<(), Refusal> {
        if self.config.access == Access::Anonymous { Err(Refusal::WhileAnonymous) } else { Ok(()) }
    }

    /// Writes down how a login went. Without its line no session begins.
    async fn recorded(
        &self,
        parts: &Parts,
        address: Option<IpAddr>,
        who: Option<String>,
        result: Result<(Secret, Identity), Refusal>,
    ) -> Result<(Secret, Identity), Refusal> {
        let Some(log) = &self.audit else { return result };
        let sender = |identity: Option<&Identity>| Sender {
            identity: identity.map(|identity| Arc::new(identity.clone())),
            tenants: None,
            address,
        };
        match result {
            Ok((token, identity)) => {
                let written = recorded::login(log, &sender(Some(&identity)), parts).await;
                written.inspect_err(|_| drop(self.users.logout(&token)))?;
                Ok((token, identity))
            }
            Err(refusal) => {
                let record = recorded::refusal(&sender(None), parts, &refusal);
                // The query of a callback has a code, which may still be good.
                let target = Some(parts.uri.path().to_owned());
                let _ = log.refusal(address, Record { who, target, ..record }).await;
                Err(refusal)
            }
        }
    }
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::WrongPassword,
            LoginError::TooMany(wait) => Self::TooManyAttempts(wait),
            LoginError::Busy => Self::Busy,
            LoginError::Random(_) => Self::Internal(error.to_string()),
        }
    }
}

impl From<OidcError> for Refusal {
    fn from(error: OidcError) -> Self {
        match error {
            OidcError::Claims(error) => Self::NoAccess(error.to_string()),
            OidcError::Unavailable => Self::ProviderUnavailable(error.to_string()),
            OidcError::Random(_) => Self::Internal(error.to_string()),
            _ => Self::LoginFailed(error.to_string()),
        }
    }
}
