//! Errors as HTTP answers.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::error::Error;

/// An error with its status.
pub(super) struct Failure {
    status: StatusCode,
    error: String,
}

pub(super) type Answer<T> = Result<T, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = xend_api::Failure { error: self.error };
        (self.status, Json(body)).into_response()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NoDomain(_) => StatusCode::NOT_FOUND,
            Error::NameInUse { .. }
            | Error::NameReserved(_)
            | Error::UuidInUse { .. }
            | Error::NotNow(_) => StatusCode::CONFLICT,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            Error::Build(domain_builder::Error::HostMemory { .. }) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Error::Build(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::NoReaction(_) => StatusCode::GATEWAY_TIMEOUT,
            Error::Hypervisor { .. }
            | Error::Store { .. }
            | Error::File { .. }
            | Error::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            error: error.to_string(),
        }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self {
            status: rejection.status(),
            error: rejection.body_text(),
        }
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self {
            status: rejection.status(),
            error: rejection.body_text(),
        }
    }
}

/// The answer for paths that are not in the interface.
pub(super) async fn not_found(uri: Uri) -> Failure {
    Failure {
        status: StatusCode::NOT_FOUND,
        error: format!("xend has no {}", uri.path()),
    }
}
