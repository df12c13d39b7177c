//! Links that are swapped at full speed while files and sessions are opened: nothing outside is ever found.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use paddock::domain::{Subdir, TenantName, UserId};
use paddock::security::workspace::Workspaces;
use serde_json::json;

use crate::support::AppBuilder;

/// How often the path jail is asked.
const ROUNDS: u64 = 100_000;

#[test]
fn a_hundred_thousand_swaps_lead_no_workspace_out_of_its_tree() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir_all(outside.join("inner")).unwrap();
    let workspaces = Workspaces::open(&folder.path().join("base"), true).unwrap();
    let (tenant, user): (TenantName, UserId) = ("acme".parse().unwrap(), "alice".parse().unwrap());
    let (top, inner): (Subdir, Subdir) = ("top".parse().unwrap(), "top/inner".parse().unwrap());
    workspaces.create(&tenant, &user, Some(&inner)).unwrap();
    let outside_ids = [&outside, &outside.join("inner")].map(|path| {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(path).unwrap();
        (found.dev(), found.ino())
    });
    let tree = folder.path().join("base/acme/alice");
    let (done, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let ended = Done(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::fs::rename(tree.join("top"), tree.join("aside")).unwrap();
                // The jail may make the folder anew at any of these moments.
                let _made_meanwhile = symlink(&outside, tree.join("top"));
                let _made_meanwhile = std::fs::remove_file(tree.join("top"));
                while std::fs::rename(tree.join("aside"), tree.join("top")).is_err() {
                    let _made_meanwhile = std::fs::remove_dir_all(tree.join("top"));
                }
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (mut found, mut refused) = (0_u64, 0_u64);
        for round in 0..ROUNDS {
            let subdir = if round % 2 == 0 { &top } else { &inner };
            let opened = if round % 4 < 2 {
                workspaces.resolve(&tenant, &user, Some(subdir))
            } else {
                workspaces.create(&tenant, &user, Some(subdir))
            };
            match opened {
                Ok(workspace) => {
                    assert!(
                        !outside_ids.contains(&workspace.identity().pair()),
                        "round {round}"
                    );
                    found += 1;
                }
                Err(_refused) => refused += 1,
            }
        }
        drop(ended);
        assert!(
            found > 0 && refused > 0,
            "{found} found, {refused} refused: there was no race"
        );
    });
    assert!(swaps.load(Ordering::Relaxed) > 100, "links were swapped");
    let planted = std::fs::read_dir(&outside).unwrap().count();
    assert_eq!(planted, 1, "nothing was made outside");
}

/// Ends the swapping, also when the test fails.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_whose_workspace_is_swapped_under_them_stay_where_they_belong() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    client
        .session_with(&json!({"user_id": "alice", "subdir": "work"}))
        .await;
    let outside = app.folder.path().join("workspaces/default/bob");
    std::fs::create_dir_all(&outside).unwrap();
    let (tree, target) = (app.workspace("alice"), outside.clone());
    let done = Arc::new(AtomicBool::new(false));
    let until_done = Arc::clone(&done);
    let swapper = std::thread::spawn(move || {
        while !until_done.load(Ordering::Relaxed) {
            let _raced = std::fs::rename(tree.join("work"), tree.join("aside"));
            let _raced = symlink(&target, tree.join("work"));
            let _raced = std::fs::remove_file(tree.join("work"));
            let _raced = std::fs::rename(tree.join("aside"), tree.join("work"));
        }
    });
    let (mut worked, mut rounds) = (0, 0);
    {
        let _ended = Done(&done);
        // As many as it takes for one to get to work between two swaps, which on some machines is rare.
        while rounds < 60 || (worked == 0 && rounds < 3_000) {
            rounds += 1;
            let made = client
                .post("/api/v1/sessions", &json!({"user_id": "alice", "subdir": "work"}))
                .await;
            if made.status != 201 {
                continue;
            }
            let id = made.text("session_id");
            // It writes a file where it works, if it gets to work.
            let answer = client.ask(&id, "grandchild planted").await;
            worked += usize::from(answer.status == 200);
            client.delete(&format!("/api/v1/sessions/{id}")).await;
        }
    }
    swapper.join().unwrap();
    assert!(worked > 0, "none of {rounds} sessions did work");
    assert_eq!(
        std::fs::read_dir(&outside).unwrap().count(),
        0,
        "nothing came to be outside"
    );
}
