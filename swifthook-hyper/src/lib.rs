//! GitHub push webhooks for hyper servers and tower stacks, verified and decided by swifthook-core.
