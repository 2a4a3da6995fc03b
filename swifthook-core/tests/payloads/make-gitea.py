#!/usr/bin/env python3
"""Writes gitea.json: push bodies in the shape of Gitea's and Forgejo's public API types (PushPayload, PayloadCommit, User,
Repository), and what is right of each for the configuration of make.py with the default `max_age`.

Run it to write the file anew: python3 make-gitea.py"""
import json, pathlib

ZERO, A = "0" * 40, "a" * 40
cases = []


def user(login):
    return {"id": 1, "login": login, "login_name": "", "source_id": 0, "full_name": "Dev", "email": f"{login}@noreply.git.example", "avatar_url": "https://git.example/avatars/1",
            "html_url": f"https://git.example/{login}", "language": "", "is_admin": False, "last_login": "0001-01-01T00:00:00Z", "created": "2024-03-01T09:00:00Z", "restricted": False,
            "active": False, "prohibit_login": False, "location": "", "website": "", "description": "", "visibility": "public", "followers_count": 0, "following_count": 0,
            "starred_repos_count": 0, "username": login}


def commit(i, added=(), modified=(), removed=(), message="tune\n"):
    person = {"name": "Dev", "email": "dev@example.org", "username": "dev"}
    return {"id": i, "message": message, "url": f"https://git.example/acme/models/commit/{i}", "author": person, "committer": person, "verification": None,
            "timestamp": "2026-11-24T10:00:00Z", "added": list(added), "removed": list(removed), "modified": list(modified)}


def repository():
    return {"id": 17, "owner": user("acme"), "name": "models", "full_name": "acme/models", "description": "", "empty": False, "private": True, "fork": False, "template": False,
            "mirror": False, "size": 24, "language": "", "languages_url": "https://git.example/api/v1/repos/acme/models/languages", "html_url": "https://git.example/acme/models",
            "url": "https://git.example/api/v1/repos/acme/models", "link": "", "ssh_url": "git@git.example:acme/models.git", "clone_url": "https://git.example/acme/models.git",
            "original_url": "", "website": "", "stars_count": 0, "forks_count": 0, "watchers_count": 1, "open_issues_count": 0, "open_pr_counter": 0, "release_counter": 0,
            "default_branch": "main", "archived": False, "created_at": "2024-03-01T09:00:00Z", "updated_at": "2026-11-24T09:59:58Z", "archived_at": "1970-01-01T00:00:00Z",
            "permissions": {"admin": True, "push": True, "pull": True}, "has_issues": True, "internal_tracker": {"enable_time_tracker": True,
            "allow_only_contributors_to_track_time": True, "enable_issue_dependencies": True}, "has_wiki": True, "has_pull_requests": True, "has_projects": True,
            "projects_mode": "all", "has_releases": True, "has_packages": True, "has_actions": True, "ignore_whitespace_conflicts": False, "allow_merge_commits": True,
            "allow_rebase": True, "allow_rebase_explicit": True, "allow_squash_merge": True, "allow_fast_forward_only_merge": True, "allow_rebase_update": True,
            "default_delete_branch_after_merge": False, "default_merge_style": "merge", "default_allow_maintainer_edit": False, "avatar_url": "", "internal": False,
            "mirror_interval": "", "object_format_name": "sha1", "mirror_updated": "0001-01-01T00:00:00Z", "topics": [], "licenses": None}


def push(listed, total=None, ref="refs/heads/main", before=A, **more):
    """`listed` are the commits, newest first."""
    head = listed[0]["id"] if listed else more.pop("head")
    body = {"ref": ref, "before": before, "after": head, "compare_url": f"https://git.example/acme/models/compare/{before}...{head}", "commits": listed,
            "total_commits": len(listed) if total is None else total, "head_commit": listed[0] if listed else commit(head), "repository": repository(),
            "pusher": user("dev"), "sender": user("dev")}
    body.update(more)
    return body


def sha(n): return f"{0x617ea000 + n:040x}"


def case(name, body, decision, gap=None, **verdicts):
    cases.append({"name": name, "body": body, "expect": {"decision": decision, "gap": gap, "verdicts": verdicts}})


config, other = "configs/sft_a.yaml", "src/x.py"
case("one commit", push([commit(sha(1), modified=[config])]), "held", "maybe_forced", train="hold", each="hold", release="skip")
case("one commit of another file", push([commit(sha(2), modified=[other])]), "held", "maybe_forced", train="hold", each="hold")
case("five of eight commits, newest first", push([commit(sha(8 - i), modified=[other]) for i in range(5)], total=8), "held", "maybe_forced", train="hold", each="hold")
case("forced, which nothing tells", push([commit(sha(9), added=[other])], before="b" * 40), "held", "maybe_forced", train="hold", each="hold")
case("a newer commit removes what an older one adds", push([commit(sha(11), removed=[config]), commit(sha(10), added=[config])]), "held", "maybe_forced", train="hold", each="hold")
case("another branch", push([commit(sha(12), modified=[config])], ref="refs/heads/dev"), "ignored", "maybe_forced", train="skip", each="skip")
case("a new branch", push([commit(sha(13), modified=[config])], before=ZERO), "queued", "new_branch", train="launch", each="hold")
case("a new branch of ten commits", push([commit(sha(30 - i), modified=[other]) for i in range(5)], total=10, before=ZERO), "held", "new_branch", train="hold", each="hold")
case("a tag", push([], head=sha(14), ref="refs/tags/v1.0", before=ZERO, commits=None, total_commits=0), "queued", "new_branch", train="skip", each="skip", release="launch")
annotated = push([], head=sha(15), ref="refs/tags/v1.1", before=ZERO, commits=None, total_commits=0)
annotated["after"] = "e" * 40
case("an annotated tag", annotated, "queued", "new_branch", release="launch")
case("a deleted branch", push([], head=sha(16), after=ZERO, commits=None, head_commit=None), "ignored", None, train="skip", each="skip", release="skip")
case("a skip marker in the newest commit", push([commit(sha(18), modified=[config], message="wip [skip ci]\n"), commit(sha(17), modified=[config])]), "ignored", "maybe_forced", train="skip", each="skip")
old = push([commit(sha(20), modified=[config], message="wip [skip ci]\n"), commit(sha(19), modified=[config])])
del old["head_commit"], old["total_commits"]
case("an older version, which has no head_commit and no total_commits", old, "ignored", "maybe_forced", train="skip", each="skip")
case("the delivery that is sent to try a webhook", push([commit(sha(21), modified=[config])], before=sha(21)), "held", "maybe_forced", train="hold", each="hold")

path = pathlib.Path(__file__).with_name("gitea.json")
path.write_text(json.dumps({"secret": "correct horse battery staple 2026", "cases": cases}, indent=1, ensure_ascii=True) + "\n")
print(len(cases), "cases")
