//! The messages of a stream after the first: each is admitted as a request would be.

use super::access::{check_scope, unauthorized};
use super::call::Call;
use super::problem::Problem;
use crate::core::keys::Scope;

impl Call {
    /// The call of another message of a stream: a request like any other, with the key as
    /// it is now.
    ///
    /// # Errors
    /// The key was removed, has lost its scope, or has sent too many requests.
    pub(crate) fn again(&self) -> Result<Self, Problem> {
        let caller =
            self.serving.keys().renew(&self.caller).ok_or_else(|| {
                unauthorized("the API key is not valid any more; use another one")
            })?;
        check_scope(&caller, Scope::Infer)?;
        caller.request()?;
        Ok(Self {
            caller,
            ..self.clone()
        })
    }

    /// The name of the caller's key; empty without keys.
    pub(crate) fn key(&self) -> &str {
        self.caller.name()
    }
}
