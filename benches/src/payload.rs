//! Pushes in GitHub's shape, of any size, made by program.

use serde_json::{Value, json};

/// How large a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How many commits it lists.
    pub commits: usize,
    /// How many files each of them lists.
    pub files: usize,
}

impl Size {
    /// One commit of one file: 7.7 KB.
    pub const SMALL: Self = Self { commits: 1, files: 1 };
    /// Twenty commits of ten files: 29 KB.
    pub const TWENTY_BY_TEN: Self = Self { commits: 20, files: 10 };
}

/// The payload of a push to `main`.
///
/// # Panics
///
/// When `repository` is not `owner/name`.
#[must_use]
pub fn push(repository: &str, before: &str, head: &str, size: Size) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let commits: Vec<_> = (1..=size.commits)
        .map(|number| match size.commits - number {
            0 => commit(repository, head, size.files, number),
            back => commit(repository, &format!("{back:040x}").replace('0', "c"), size.files, number),
        })
        .collect();
    json!({
        "ref": "refs/heads/main",
        "before": before,
        "after": head,
        "repository": repository_object(repository, now),
        "pusher": { "name": "dev", "email": "dev@example.org" },
        "organization": organization("acme", 7),
        "enterprise": {
            "id": 1, "slug": "acme", "name": "Acme", "node_id": "E_kgDOA", "created_at": "2020-01-01T00:00:00Z",
            "avatar_url": "https://avatars.githubusercontent.com/b/1?v=4", "description": "", "website_url": "",
            "html_url": "https://github.com/enterprises/acme", "updated_at": "2026-01-01T00:00:00Z",
        },
        "installation": { "id": 12_345_678, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uMTIzNDU2Nzg=" },
        "sender": account("dev", 1),
        "created": false,
        "deleted": false,
        "forced": false,
        "base_ref": null,
        "compare": format!("https://github.com/{repository}/compare/{before:.12}...{head:.12}"),
        "head_commit": commits.last(),
        "commits": commits,
    })
}

fn commit(repository: &str, id: &str, files: usize, number: usize) -> Value {
    let person = json!({ "name": "Dev", "email": "dev@example.org", "username": "dev" });
    let modified: Vec<_> = (1..=files)
        .map(|file| format!("configs/experiments/team-{number}/sft_qwen3_8b_{file:03}.yaml"))
        .collect();
    json!({
        "id": id,
        "tree_id": "d".repeat(40),
        "distinct": true,
        "message": "Tune the learning rate and the warm-up of the smaller models\n\nThe last runs levelled off too early; see the notes of the review.",
        "timestamp": "2026-11-24T10:00:00+00:00",
        "url": format!("https://github.com/{repository}/commit/{id}"),
        "author": person,
        "committer": person,
        "added": [],
        "removed": [],
        "modified": modified,
    })
}

fn repository_object(repository: &str, pushed_at: u64) -> Value {
    let (owner, name) = repository.split_once('/').expect("a repository has an owner");
    let mut object: Value = serde_json::from_str(SAME_FOR_ALL).expect("the text below is JSON");
    object["owner"] = account(owner, 7);
    object["pushed_at"] = pushed_at.into();
    for (key, value) in [
        ("name", name.to_owned()),
        ("full_name", repository.to_owned()),
        ("organization", owner.to_owned()),
        ("html_url", format!("https://github.com/{repository}")),
        ("svn_url", format!("https://github.com/{repository}")),
        ("url", format!("https://api.github.com/repos/{repository}")),
        ("clone_url", format!("https://github.com/{repository}.git")),
        ("ssh_url", format!("git@github.com:{repository}.git")),
        ("git_url", format!("git://github.com/{repository}.git")),
    ] {
        object[key] = value.into();
    }
    for ending in ENDINGS {
        let key = format!("{}_url", ending.split(['{', '/']).next().unwrap_or(ending));
        object[key] = format!("https://api.github.com/repos/{repository}/{ending}").into();
    }
    object
}

fn organization(login: &str, id: u64) -> Value {
    let mut object = json!({
        "login": login, "id": id, "node_id": "O_kgDOA", "description": "Models",
        "avatar_url": format!("https://avatars.githubusercontent.com/u/{id}?v=4"),
        "url": format!("https://api.github.com/orgs/{login}"),
    });
    for ending in ["repos", "events", "hooks", "issues", "members{/member}", "public_members{/member}"] {
        let key = format!("{}_url", ending.split('{').next().unwrap_or(ending));
        object[key] = format!("https://api.github.com/orgs/{login}/{ending}").into();
    }
    object
}

fn account(login: &str, id: u64) -> Value {
    let mut object =
        json!({ "login": login, "id": id, "node_id": "U_kgDOA", "type": "User", "site_admin": false });
    for ending in ["followers", "following{/other_user}", "gists{/gist_id}", "starred{/owner}{/repo}", "orgs"]
        .into_iter()
        .chain(["subscriptions", "repos", "events{/privacy}", "received_events"])
    {
        let key = format!("{}_url", ending.split('{').next().unwrap_or(ending));
        object[key] = format!("https://api.github.com/users/{login}/{ending}").into();
    }
    object
}

const SAME_FOR_ALL: &str = r#"{
    "id": 4242, "node_id": "R_kgDOABCD", "private": true, "description": "Training configurations",
    "fork": false, "created_at": 1700000000, "updated_at": "2026-11-24T09:00:00Z", "size": 1234,
    "stargazers_count": 3, "watchers_count": 3, "language": "Python", "has_issues": true, "has_projects": true,
    "has_downloads": true, "has_wiki": false, "has_pages": false, "has_discussions": false, "forks_count": 0,
    "mirror_url": null, "homepage": null, "archived": false, "disabled": false, "open_issues_count": 2,
    "license": null, "allow_forking": true, "is_template": false, "web_commit_signoff_required": false,
    "has_pull_requests": true, "topics": [], "visibility": "private", "forks": 0, "open_issues": 2,
    "watchers": 3, "default_branch": "main", "stargazers": 3, "master_branch": "main", "custom_properties": {}
}"#;
const ENDINGS: [&str; 37] = [
    "forks",
    "keys{/key_id}",
    "collaborators{/collaborator}",
    "teams",
    "hooks",
    "issue_events{/number}",
    "events",
    "assignees{/user}",
    "branches{/branch}",
    "tags",
    "blobs{/sha}",
    "git_tags{/sha}",
    "git_refs{/sha}",
    "trees{/sha}",
    "statuses/{sha}",
    "languages",
    "stargazers",
    "contributors",
    "subscribers",
    "subscription",
    "commits{/sha}",
    "git_commits{/sha}",
    "comments{/number}",
    "issue_comment{/number}",
    "contents/{+path}",
    "compare/{base}...{head}",
    "merges",
    "archive{/ref}",
    "downloads",
    "issues{/number}",
    "pulls{/number}",
    "milestones{/number}",
    "notifications{?since,all,participating}",
    "labels{/name}",
    "releases{/id}",
    "deployments",
    "mirror",
];
