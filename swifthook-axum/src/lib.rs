//! GitHub push webhooks for axum servers, verified and decided by swifthook-core.
