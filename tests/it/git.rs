//! Repositories in workspaces, with the real `git`: what is told of them, what is done to them, and that what a repository asks for
//! runs nowhere but in the jail.

mod cloning;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use paddock::settings::{IsolationLevel, Settings};
use serde_json::{Value, json};

use crate::support::{AppBuilder, TestApp, until};

fn app(change: impl FnOnce(&mut Settings)) -> TestApp {
    AppBuilder::fake().with(change).start()
}

/// Runs `git` as whoever tests would, with nothing of theirs.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=Ann",
            "-c",
            "user.email=ann@example.com",
            "-c",
            "safe.directory=*",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Gives what tests made to whom the workspace belongs: where the server is root, to its tenant's user.
fn give(workspace: &Path) {
    let given = Command::new("chown")
        .args(["-R", "--no-dereference", "--reference=.", "."])
        .current_dir(workspace)
        .status();
    assert!(given.unwrap().success());
}

/// A session whose workspace is a repository with one commit.
async fn repository(app: &TestApp) -> (String, PathBuf) {
    let id = app.client().session("alice").await;
    let workspace = app.workspace("alice");
    git(&workspace, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::write(workspace.join("a.txt"), "one\ntwo\nthree\n").unwrap();
    std::fs::write(workspace.join("b.txt"), "b\n").unwrap();
    git(&workspace, &["add", "--all"]);
    git(
        &workspace,
        &["commit", "--quiet", "--message=First\n\nWith a body."],
    );
    give(&workspace);
    (format!("/api/v1/sessions/{id}/git"), workspace)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story from its beginning to its end")]
async fn a_repository_is_looked_at_changed_and_put_back() {
    let app = app(|_| ());
    let client = app.client();
    let (path, workspace) = repository(&app).await;
    let status = async || client.get(&format!("{path}/status")).await.expect(200).body;
    let clean = status().await;
    assert_eq!(
        (&clean["is_repository"], &clean["branch"], &clean["data"]),
        (&json!(true), &json!("main"), &json!([]))
    );
    std::fs::write(workspace.join("a.txt"), "one\n2\nthree\n").unwrap();
    std::fs::write(workspace.join("new file.txt"), "new").unwrap();
    give(&workspace);
    assert_eq!(
        status().await["data"],
        json!([
            {"path": "a.txt", "index": null, "worktree": "modified"},
            {"path": "new file.txt", "index": null, "worktree": "untracked"},
        ])
    );
    let diff = client
        .get(&format!("{path}/diff?context=0"))
        .await
        .expect(200)
        .body;
    assert_eq!((&diff["additions"], &diff["deletions"]), (&json!(1), &json!(1)));
    assert_eq!(diff["files"][0]["path"], "a.txt");
    assert_eq!(
        diff["files"][0]["hunks"][0]["lines"][1],
        json!({"kind": "added", "old_line": null, "new_line": 2, "text": "2"})
    );
    let text = client
        .get(&format!("{path}/diff?context=0&format=unified"))
        .await
        .expect(200);
    assert!(text.header("content-type").starts_with("text/x-diff"));
    assert!(text.raw.contains("\n-two\n+2\n"), "{}", text.raw);

    let commits = format!("{path}/commits");
    client
        .post(&commits, &json!({"message": "Nothing is prepared"}))
        .await
        .problem(409, "nothing_to_commit");
    let some = json!({"message": "Second\n\n# not a comment", "paths": ["a.txt"], "author_name": "Bob"});
    let made = client.post(&commits, &some).await.expect(201).body;
    assert_eq!(
        (&made["subject"], &made["body"], &made["author_name"]),
        (&json!("Second"), &json!("# not a comment"), &json!("Bob"))
    );
    assert_eq!(made["author_email"], "alice@paddock.invalid");
    assert_eq!(status().await["data"][0]["worktree"], "untracked");
    let all = json!({"message": "Third", "all": true});
    client.post(&commits, &all).await.expect(201);

    let log = client.get(&format!("{path}/log?limit=2")).await.expect(200).body;
    let subjects = |page: &Value| -> Vec<String> {
        let commits = page["data"].as_array().unwrap().iter();
        commits
            .map(|commit| commit["subject"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(subjects(&log), ["Third", "Second"]);
    let cursor = log["next_cursor"].as_str().unwrap();
    let rest = client
        .get(&format!("{path}/log?limit=2&cursor={cursor}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (subjects(&rest), &rest["next_cursor"]),
        (vec!["First".into()], &Value::Null)
    );
    assert_eq!(rest["data"][0]["body"], "With a body.");
    let of_a = client
        .get(&format!("{path}/log?path=a.txt&ref=main"))
        .await
        .expect(200);
    assert_eq!(subjects(&of_a.body), ["Second", "First"]);
    let between = client
        .get(&format!("{path}/diff?from=HEAD~2&to=HEAD&path=new%20file.txt"))
        .await
        .expect(200)
        .body;
    assert_eq!(between["files"].as_array().unwrap().len(), 1);
    assert_eq!(between["files"][0]["status"], "added");
    let nothing = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let first = client
        .get(&format!("{path}/diff?from={nothing}&to=HEAD~2"))
        .await
        .expect(200)
        .body;
    assert!(
        first["files"]
            .as_array()
            .unwrap()
            .iter()
            .all(|file| file["status"] == "added"),
        "{first}"
    );

    let restore = format!("{path}/restore");
    let back = json!({"paths": ["a.txt"], "source": "HEAD~2"});
    assert_eq!(
        client.post(&restore, &back).await.expect(200).body["paths"],
        json!(["a.txt"])
    );
    let read = |name: &str| std::fs::read_to_string(workspace.join(name)).unwrap();
    assert_eq!(read("a.txt"), "one\ntwo\nthree\n");
    client
        .post(&restore, &json!({"paths": ["a.txt"]}))
        .await
        .expect(200);
    assert_eq!(read("a.txt"), "one\n2\nthree\n");
    let problem = client.post(&restore, &json!({"paths": ["never.txt"]})).await;
    assert!(
        problem
            .problem(409, "git_failed")
            .text("detail")
            .contains("did not match")
    );
}

#[tokio::test]
async fn only_the_workspaces_own_repository_is_looked_at() {
    let app = app(|_| ());
    let client = app.client();
    let outer = client.session("alice").await;
    let refused = async |id: &str| {
        client
            .get(&format!("/api/v1/sessions/{id}/git/status"))
            .await
            .problem(409, "not_a_repository");
    };
    refused(&outer).await;
    let tree = app.workspace("alice");
    git(&tree, &["init", "--quiet"]);
    let inner = client
        .session_with(&json!({"user_id": "alice", "subdir": "inner"}))
        .await;
    refused(&inner).await;
    let inside = tree.join("inner");
    std::os::unix::fs::symlink("../.git", inside.join(".git")).unwrap();
    refused(&inner).await;
    std::fs::remove_file(inside.join(".git")).unwrap();
    std::fs::write(inside.join(".git"), "gitdir: ../.git\n").unwrap();
    refused(&inner).await;
    std::fs::remove_file(inside.join(".git")).unwrap();
    std::fs::create_dir(inside.join(".git")).unwrap();
    refused(&inner).await;
    let unborn = client
        .get(&format!("/api/v1/sessions/{outer}/git/log"))
        .await
        .expect(200)
        .body;
    assert_eq!(unborn["data"], json!([]), "there is no commit yet");
}

#[tokio::test]
async fn what_a_caller_names_is_never_an_option() {
    let app = app(|_| ());
    let client = app.client();
    let (path, workspace) = repository(&app).await;
    for query in [
        "diff?from=--output=stolen",
        "diff?from=main&to=--no-index",
        "log?ref=--all",
        "log?path=../../etc",
        "diff?path=/etc/passwd",
        "diff?to=main",
        "diff?from=main&to=main&staged=true",
    ] {
        client
            .get(&format!("{path}/{query}"))
            .await
            .problem(422, "invalid_query");
    }
    for query in [
        "diff?from=never",
        "log?ref=never",
        "log?ref=:a.txt",
        "log?ref=HEAD:a.txt",
    ] {
        client
            .get(&format!("{path}/{query}"))
            .await
            .problem(404, "ref_not_found");
    }
    std::fs::write(workspace.join("--help"), "x").unwrap();
    give(&workspace);
    let odd = json!({"message": "-m", "paths": ["--help"], "author_name": "--amend"});
    let made = client
        .post(&format!("{path}/commits"), &odd)
        .await
        .expect(201)
        .body;
    assert_eq!(
        (&made["subject"], &made["author_name"]),
        (&json!("-m"), &json!("--amend"))
    );
    let listed = client
        .get(&format!("{path}/log?path=--help"))
        .await
        .expect(200)
        .body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert!(!workspace.join("stolen").exists());
}

/// What a repository can have git run, each leaving a mark in the workspace and one outside.
fn make_hostile(workspace: &Path, outside: &Path) {
    let bad = |mark: &str| {
        format!(
            "#!/bin/sh\necho ran > '{}/{mark}'\necho ran > '{}/{mark}'\ncat\n",
            workspace.display(),
            outside.display()
        )
    };
    let program = |mark: &str| {
        let path = workspace.join(".git").join(format!("bad-{mark}"));
        std::fs::write(&path, bad(mark)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for hook in [
        "pre-commit",
        "post-commit",
        "post-checkout",
        "post-index-change",
        "commit-msg",
    ] {
        let path = workspace.join(".git/hooks").join(hook);
        std::fs::write(&path, bad(&format!("hook-{hook}"))).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::write(workspace.join(".gitattributes"), "*.txt diff=bad filter=bad\n").unwrap();
    for (name, value) in [
        ("core.fsmonitor", program("fsmonitor")),
        ("diff.external", program("external")),
        ("diff.bad.command", program("command")),
        ("diff.bad.textconv", program("textconv")),
        ("filter.bad.clean", program("clean")),
        ("filter.bad.smudge", program("smudge")),
        ("core.pager", program("pager")),
        ("core.editor", program("editor")),
        ("commit.gpgSign", "true".to_owned()),
        ("gpg.program", program("gpg")),
        ("log.showSignature", "true".to_owned()),
        ("core.sshCommand", program("ssh")),
        ("credential.helper", program("credential")),
        ("core.worktree", outside.to_str().unwrap().to_owned()),
    ] {
        git(workspace, &["config", name, &value]);
    }
    let config = workspace.join(".git/config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        format!("{text}[submodule \"x\"]\n\turl = ext::sh -c true\n"),
    )
    .unwrap();
}

async fn nothing_leaves_the_jail(level: IsolationLevel) {
    let app = app(|settings| settings.isolation.level = level);
    let client = app.client();
    let (path, workspace) = repository(&app).await;
    let outside = app.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    // Anyone could write there, if not for the jail.
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o777)).unwrap();
    make_hostile(&workspace, &outside);
    std::fs::write(workspace.join("a.txt"), "changed\n").unwrap();
    give(&workspace);
    client.get(&format!("{path}/status")).await.expect(200);
    for query in ["", "?staged=true", "?from=HEAD", "?from=HEAD&format=unified"] {
        client.get(&format!("{path}/diff{query}")).await.expect(200);
    }
    client.get(&format!("{path}/log")).await.expect(200);
    client
        .post(&format!("{path}/commits"), &json!({"message": "m", "all": true}))
        .await
        .expect(201);
    client
        .post(
            &format!("{path}/restore"),
            &json!({"paths": ["a.txt"], "source": "HEAD~1"}),
        )
        .await
        .expect(200);
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    assert_eq!(
        names(&outside),
        [] as [&str; 0],
        "nothing runs with the server's rights"
    );
    let inside = names(&workspace);
    let ran: Vec<_> = inside
        .iter()
        .filter(|name| !["a.txt", "b.txt", ".git", ".gitattributes"].contains(&name.as_str()))
        .collect();
    // What cannot be switched off runs as the agent itself would have it run; that it did shows what held it.
    let mut ran: Vec<_> = ran.into_iter().map(String::as_str).collect();
    ran.sort_unstable();
    assert_eq!(ran, ["clean", "smudge"]);
}

#[tokio::test]
async fn what_a_repository_asks_for_stays_in_the_jail() {
    nothing_leaves_the_jail(IsolationLevel::Landlock).await;
}

#[tokio::test]
async fn what_a_repository_asks_for_stays_in_the_strongest_jail() {
    nothing_leaves_the_jail(IsolationLevel::Best).await;
}

/// A program of the repository's that never ends.
fn make_slow(workspace: &Path) {
    std::fs::write(workspace.join(".gitattributes"), "*.txt filter=slow\n").unwrap();
    git(
        workspace,
        &["config", "filter.slow.clean", "touch began; sleep 1000"],
    );
    std::fs::write(workspace.join("a.txt"), "changed\n").unwrap();
}

#[tokio::test]
async fn git_takes_no_longer_than_it_may_and_leaves_nothing_that_runs() {
    let app = app(|settings| settings.git.timeout = Duration::from_secs(1));
    let (path, workspace) = repository(&app).await;
    make_slow(&workspace);
    app.client()
        .get(&format!("{path}/status"))
        .await
        .problem(504, "git_timeout");
    // That nothing is left is seen when the server ends.
    let homes = app.folder.path().join("homes");
    until("its home is removed", async || {
        let tenants = std::fs::read_dir(&homes).unwrap();
        let homes: usize = tenants
            .map(|tenant| std::fs::read_dir(tenant.unwrap().path()).unwrap().count())
            .sum();
        (homes <= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_too_much_is_cut_off_and_that_is_told() {
    let app = app(|settings| settings.git.output_max_bytes = 4096);
    let (path, workspace) = repository(&app).await;
    for number in 0..500 {
        std::fs::write(workspace.join(format!("untracked-{number}.txt")), "x").unwrap();
    }
    let client = app.client();
    let status = client.get(&format!("{path}/status")).await.expect(200).body;
    let told = status["data"].as_array().unwrap().len();
    assert!(status["truncated"] == true && (50..500).contains(&told), "{told}");
    std::fs::write(workspace.join("a.txt"), "x\n".repeat(5000)).unwrap();
    std::fs::write(workspace.join("b.txt"), "changed\n").unwrap();
    let diff = client.get(&format!("{path}/diff")).await.expect(200).body;
    assert_eq!(
        (&diff["truncated"], &diff["files"][0]["truncated"]),
        (&json!(true), &json!(true))
    );
    // What is wanted comes first.
    let wanted = client
        .get(&format!("{path}/diff?path=b.txt"))
        .await
        .expect(200)
        .body;
    assert_eq!(wanted["files"][0]["hunks"][0]["lines"][1]["text"], "changed");
}

#[tokio::test]
async fn without_git_it_is_said_that_there_is_none() {
    let app = app(|settings| settings.git.path = "no-such-git".into());
    let (path, _) = repository(&app).await;
    let problem = app.client().get(&format!("{path}/status")).await;
    assert!(
        problem
            .problem(503, "git_unavailable")
            .text("detail")
            .contains("git.path")
    );
}
