//! How a server comes by its fence, and what it says when there is none.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use paddock::settings::{IsolationLevel, IsolationScope, NamedNetwork, NetworkSetting};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::{Value, json};

use super::is_root;
use crate::support::{AppBuilder, Client, Served, paddock, real_cli};

/// A user of the machine like any other.
const ORDINARY: u32 = 34_567;

async fn isolation(client: &Client) -> Value {
    client.get("/health").await.expect(200).body["isolation"].clone()
}

fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("paddock-fence-")
        .tempdir()
        .unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// The server's command, with the real CLI.
fn real(folder: &Path) -> Command {
    let mut command = paddock(folder);
    command.env("PADDOCK__AGENT__CLI_PATH", real_cli());
    command
}

/// The same command, run by this one.
fn under(program: &str, arguments: &[String], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    outer
}

fn as_user(user: u32) -> [String; 3] {
    [
        format!("--reuid={user}"),
        format!("--regid={user}"),
        "--clear-groups".to_owned(),
    ]
}

/// Tells a secret from where it should not be, if it can; and works.
const LOOK: &str = "% bash cat /etc/shadow ../../paddock.db >/dev/null && echo out; echo hello > a.txt; cat a.txt; id -u\n% results";

#[tokio::test]
async fn the_level_in_force_is_the_one_that_held_and_is_told() {
    let best = AppBuilder::real().start();
    assert_eq!(isolation(&best.client()).await, "namespaces");
    let without_bubblewrap = AppBuilder::fake()
        .with(|settings| {
            settings.isolation.level = IsolationLevel::Best;
            settings.isolation.bubblewrap_path = "no-such-program".into();
        })
        .start();
    assert_eq!(isolation(&without_bubblewrap.client()).await, "landlock");
    let none = AppBuilder::fake()
        .with(|settings| settings.isolation.level = IsolationLevel::None)
        .start();
    assert_eq!(isolation(&none.client()).await, "none");
}

#[test]
fn a_level_that_does_not_hold_refuses_the_start_in_one_sentence() {
    let folder = open_folder();
    let output = paddock(folder.path())
        .arg("serve")
        .env("PADDOCK__ISOLATION__LEVEL", "namespaces")
        .env("PADDOCK__ISOLATION__BUBBLEWRAP_PATH", "/bin/false")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(
        last.contains("isolation.level is namespaces") && last.contains("Set isolation.level to none"),
        "{told}"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path().join("data/homes"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "what it was tried with is gone: {left:?}");
}

#[test]
fn a_network_that_reaches_the_server_itself_refuses_the_start() {
    let folder = open_folder();
    let output = paddock(folder.path())
        .arg("serve")
        .env("PADDOCK__API__PORT", "8443")
        .env("PADDOCK__ISOLATION__NETWORK", "443,8443")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("port 8443") && told.contains("api.port"),
        "{told}"
    );
}

#[tokio::test]
async fn an_ordinary_users_server_works_and_fences_its_agents_in() {
    if !is_root() {
        return;
    }
    for (level, told) in [("best", "namespaces"), ("landlock", "landlock")] {
        let folder = open_folder();
        std::os::unix::fs::chown(folder.path(), Some(ORDINARY), Some(ORDINARY)).unwrap();
        let mut command = real(folder.path());
        command.arg("serve").env("PADDOCK__ISOLATION__LEVEL", level);
        let served = Served::of(under("setpriv", &as_user(ORDINARY), &command), folder);
        let client = served.client();
        assert_eq!(isolation(&client).await, told);
        // Not even its own user looks into it: it holds secrets.
        let environment = format!("/proc/{}/environ", served.pid());
        let peeked = Command::new("setpriv")
            .args(as_user(ORDINARY))
            .args(["cat", &environment])
            .output()
            .unwrap();
        assert!(!peeked.status.success() && peeked.stdout.is_empty(), "{peeked:?}");
        let id = client.session("alice").await;
        let answer = client.answer(&id, LOOK).await;
        assert!(
            answer.contains("hello") && answer.contains("34567") && !answer.contains("out\n"),
            "{told}: {answer}"
        );
        served.signal(rustix::process::Signal::INT);
        served.ended();
    }
}

/// What Docker leaves a container of the rights of root; of calls it leaves no mounts and no namespaces.
const LEFT_BY_DOCKER: &str = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap";

#[tokio::test]
async fn a_server_with_the_rights_that_a_container_has_works_and_fences_its_agents_in() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    let mut command = real(folder.path());
    command.arg("serve");
    let dropped: Vec<String> = std::iter::once("-all".to_owned())
        .chain(LEFT_BY_DOCKER.split(',').map(|name| format!("+{name}")))
        .collect();
    let arguments = [
        format!("--bounding-set={}", dropped.join(",")),
        format!("--inh-caps={}", dropped.join(",")),
    ];
    let command = under("setpriv", &arguments, &command);
    let served = without_namespaces(move || Served::of(command, folder));
    let client = served.client();
    assert_eq!(isolation(&client).await, "landlock");
    let id = client.session("alice").await;
    let answer = client.answer(&id, LOOK).await;
    assert!(answer.contains("hello") && !answer.contains("out\n"), "{answer}");
    let user: u32 = answer.trim().lines().last().unwrap().parse().unwrap();
    assert!(user > 20_000, "it runs under its tenant's user: {answer}");
    served.signal(rustix::process::Signal::INT);
    served.ended();
}

/// Does something in a thread, and in what that starts, that is refused the calls that Docker's profile refuses.
fn without_namespaces<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let new_namespaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ]
    .map(|flag| u64::from(flag.unsigned_abs()))
    .map(|flag| {
        let is_set = SeccompCmpOp::MaskedEq(flag);
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, is_set, flag).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    });
    let calls = [
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
    ];
    let mut rules: BTreeMap<_, Vec<_>> = calls.map(|call| (call, Vec::new())).into();
    rules.insert(libc::SYS_clone, new_namespaces.into());
    let absent = [(libc::SYS_clone3, Vec::new())].into();
    refused(vec![(libc::EPERM, rules), (libc::ENOSYS, absent)], what)
}

/// Does something where the kernel has neither Landlock nor namespaces for it.
fn without_any_jail<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let absent = [(libc::SYS_landlock_create_ruleset, Vec::new())].into();
    without_namespaces(move || refused(vec![(libc::ENOSYS, absent)], what))
}

/// Does something in a thread, and in what that starts, that is refused these calls, with these errors.
fn refused<T: Send + 'static>(
    calls: Vec<(i32, BTreeMap<i64, Vec<SeccompRule>>)>,
    what: impl FnOnce() -> T + Send + 'static,
) -> T {
    std::thread::spawn(move || {
        for (errno, rules) in calls {
            let action = SeccompAction::Errno(errno.unsigned_abs());
            let arch = std::env::consts::ARCH.try_into().unwrap();
            let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
            let filter: BpfProgram = filter.try_into().unwrap();
            seccompiler::apply_filter(&filter).unwrap();
        }
        what()
    })
    .join()
    .unwrap()
}

#[tokio::test]
async fn where_no_jail_holds_the_server_starts_only_if_that_is_said_or_there_is_one_user() {
    let start = |settings: &'static [(&'static str, &'static str)]| {
        let folder = open_folder();
        let mut command = paddock(folder.path());
        command.arg("serve").envs(settings.iter().copied());
        (command, folder)
    };
    let (mut command, _folder) = start(&[]);
    let output = without_any_jail(move || command.output().unwrap());
    let told = String::from_utf8(output.stderr).unwrap();
    let last = told.lines().last().unwrap();
    assert!(!output.status.success(), "{told}");
    for part in [
        "no jail for agents holds here",
        "namespaces:",
        "landlock:",
        "isolation.level to none",
    ] {
        assert!(last.contains(part), "{part:?} is missing in {told}");
    }
    let (command, folder) = start(&[("PADDOCK__ISOLATION__REQUIRED", "false")]);
    let served = without_any_jail(move || Served::of(command, folder));
    assert_eq!(isolation(&served.client()).await, "none");
    served.signal(rustix::process::Signal::INT);
    served.ended();
    let (command, folder) = start(&[]);
    let one_user = "auth: {keys: [{name: a, key: 0123456789abcdef, tenant: acme, user_id: alice}]}";
    std::fs::write(folder.path().join("config.yaml"), one_user).unwrap();
    let served = without_any_jail(move || Served::of(command, folder));
    assert_eq!(isolation(&served.client()).await, "none");
    served.signal(rustix::process::Signal::INT);
    served.ended();
}

#[tokio::test]
async fn an_agent_reaches_all_of_its_users_tree_only_where_that_is_set() {
    for (scope, reaches) in [(IsolationScope::Session, false), (IsolationScope::User, true)] {
        for level in [IsolationLevel::Landlock, IsolationLevel::Namespaces] {
            let app = AppBuilder::real()
                .with(|settings| {
                    settings.isolation.scope = scope;
                    settings.isolation.level = level;
                })
                .start();
            let client = app.client();
            client
                .session_with(&json!({"user_id": "alice", "subdir": "one"}))
                .await;
            std::fs::write(app.workspace("alice").join("one/note"), "of one").unwrap();
            std::os::unix::fs::chown(app.workspace("alice").join("one/note"), None, None).unwrap();
            std::fs::set_permissions(
                app.workspace("alice").join("one/note"),
                std::fs::Permissions::from_mode(0o644),
            )
            .unwrap();
            let two = client
                .session_with(&json!({"user_id": "alice", "subdir": "two"}))
                .await;
            let answer = client
                .answer(&two, "% bash cat ../one/note; echo done\n% results")
                .await;
            assert_eq!(
                answer.contains("of one"),
                reaches,
                "{scope:?} {level:?}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn an_agents_network_is_what_is_set() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("% bash exec 3<>/dev/tcp/127.0.0.1/{port} && echo connected\n% results");
    for (network, connects) in [
        (NetworkSetting::Named(NamedNetwork::Gateway), false),
        (NetworkSetting::Ports(vec![port]), true),
        (NetworkSetting::Named(NamedNetwork::Open), true),
    ] {
        let app = AppBuilder::real()
            .with(|settings| settings.isolation.network = network.clone())
            .start();
        let client = app.client();
        let id = client.session("alice").await;
        let answer = client.answer(&id, &connect).await;
        assert_eq!(answer.contains("connected"), connects, "{network:?}: {answer}");
        // Name service is by datagrams.
        let datagram = "% bash perl -MSocket -e 'print socket(S, AF_INET, SOCK_DGRAM, 0) ? \"made\" : \"refused\"'\n% results";
        let answer = client.answer(&id, datagram).await;
        let open = network == NetworkSetting::Named(NamedNetwork::Open);
        assert_eq!(answer.contains("made"), open, "{network:?}: {answer}");
    }
}

#[tokio::test]
async fn a_new_home_begins_with_the_template_and_no_setting_of_the_server_shows() {
    let template = open_folder();
    std::fs::create_dir(template.path().join(".claude")).unwrap();
    std::fs::write(template.path().join(".claude/CLAUDE.md"), "Be brief.").unwrap();
    std::fs::write(template.path().join(".gitconfig"), "[user]\n\tname = Paddock\n").unwrap();
    let app = AppBuilder::real()
        .with(|settings| settings.agent.home_template = Some(template.path().to_owned()))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let answer = client
        .answer(
            &id,
            "% bash cat ~/.claude/CLAUDE.md; git config user.name; ls -A ~\n% results",
        )
        .await;
    assert!(
        answer.contains("Be brief.") && answer.contains("Paddock"),
        "{answer}"
    );
}
