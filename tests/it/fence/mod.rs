//! The fence: what an agent is kept from. Every attempt is run in each kind of jail, by plain processes and by the real
//! CLI's tools; and once without a jail, where it must get through, so that none of them is empty.

mod attempts;
mod exhaustion;
mod races;
mod starting;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use paddock::jail::{Grant, Jail, Level, Limits, Network, VARIABLE};
use paddock::settings::IsolationLevel;
use serde_json::json;

use self::attempts::{ALL, Against, Attempt};
use crate::support::{AppBuilder, Client};

/// The user that agents run under here.
const AGENT: u32 = 23_456;

/// A machine with something to get at: folders as a server has them, a process, sockets.
struct World {
    folder: tempfile::TempDir,
    victim: Child,
    variables: BTreeMap<&'static str, String>,
    /// Who owns what lies there, the agents' own users when absent.
    owner: u32,
    _listeners: (TcpListener, TcpListener, UnixListener, UnixListener),
}

impl Drop for World {
    fn drop(&mut self) {
        self.victim.kill().unwrap();
        self.victim.wait().unwrap();
    }
}

fn run(command: &mut Command) -> std::process::Output {
    command.output().unwrap()
}

impl World {
    /// With other users' files of this owner.
    fn new(owner: u32) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("paddock-fence-")
            // Not below /tmp, of which agents may have one of their own.
            .tempdir_in("/var/tmp")
            .unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (other, rival, home) = (
            at("workspaces/acme/bob"),
            at("workspaces/rival/carol"),
            at("homes/ten_other/ses_other"),
        );
        for path in [
            &other,
            &rival,
            &home,
            &at("workspaces/acme/alice"),
            &at("homes/own/tmp"),
        ] {
            std::fs::create_dir_all(path).unwrap();
        }
        let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (api, database) = (listener(), listener());
        let socket = UnixListener::bind(at("docker.sock")).unwrap();
        std::fs::set_permissions(at("docker.sock"), std::fs::Permissions::from_mode(0o777)).unwrap();
        let name = format!("paddock-{}", folder.path().file_name().unwrap().display());
        let abstract_socket =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        std::fs::create_dir(at("victim")).unwrap();
        std::fs::write(at("victim/secret.txt"), "secret").unwrap();
        std::fs::write(at("held"), "secret of the victim").unwrap();
        let mut victim = Command::new("setpriv");
        let victim = victim
            .args([
                format!("--reuid={owner}"),
                format!("--regid={owner}"),
                "--clear-groups".into(),
            ])
            .args(["sleep", "10000"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("VICTIM_SECRET", "secret")
            .current_dir(at("victim"))
            .stdin(std::fs::File::open(at("held")).unwrap())
            .spawn()
            .unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let variables = BTreeMap::from([
            ("FOLDER", text(folder.path())),
            ("OTHER", text(&other)),
            ("RIVAL", text(&rival)),
            ("OTHER_HOME", text(&home)),
            ("VICTIM", victim.id().to_string()),
            ("SERVER", std::process::id().to_string()),
            ("API", port(&api)),
            ("DATABASE", port(&database)),
            ("GATEWAY", port(&database)),
            ("TOKEN", "none".to_owned()),
            ("ABSTRACT", name.clone()),
            ("MARK", name),
        ]);
        let world = Self {
            folder,
            victim,
            variables,
            owner,
            _listeners: (api, database, socket, abstract_socket),
        };
        world.plant();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts everything to where it was.
    fn plant(&self) {
        for user in ["acme/bob", "rival/carol"] {
            let workspace = self.path("workspaces").join(user);
            std::fs::remove_dir_all(&workspace).unwrap();
            std::fs::create_dir(&workspace).unwrap();
            std::fs::write(workspace.join("secret.txt"), "secret").unwrap();
            std::fs::write(workspace.join("movable"), "movable").unwrap();
            std::fs::write(workspace.join("program"), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(workspace.join("program"), std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        let home = self.path("homes/ten_other/ses_other");
        std::fs::create_dir_all(home.join(".claude/projects/p")).unwrap();
        std::fs::create_dir_all(home.join("tmp/cc-socks")).unwrap();
        std::fs::write(home.join(".claude/projects/p/t.jsonl"), "{}").unwrap();
        for (name, text) in [
            ("paddock.db", "SQLite format 3"),
            ("config.yaml", "auth: {admin_key: secret}"),
            ("program", "#!/bin/sh\n"),
        ] {
            std::fs::write(self.path(name), text).unwrap();
        }
        let all = [
            "workspaces",
            "homes/ten_other",
            "paddock.db",
            "config.yaml",
            "program",
        ];
        let owner = format!("{0}:{0}", self.owner);
        let given = run(Command::new("chown")
            .args(["-R", &owner])
            .args(all)
            .current_dir(&self.folder));
        assert!(given.status.success(), "{given:?}");
        for private in ["workspaces/acme/bob", "workspaces/rival/carol", "homes/ten_other"] {
            std::fs::set_permissions(self.path(private), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        // What only root may read, and a program that reads it with root's rights.
        std::fs::write(self.path("rootly"), "rootly").unwrap();
        std::fs::set_permissions(self.path("rootly"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let program = self.path("workspaces/acme/alice/setuid-cat");
        let _was_not_there = std::fs::remove_file(&program);
        std::fs::copy("/bin/cat", &program).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
        for folder in [
            "/tmp",
            "/var/tmp",
            "/dev/shm",
            "/etc",
            "/etc/cron.d",
            "/usr/local/bin",
        ] {
            let _was_not_there = std::fs::remove_file(Path::new(folder).join(&self.variables["MARK"]));
        }
    }

    /// Whether an attempt whose script ended well did get through.
    fn got_through(&self, attempt: &Attempt) -> bool {
        attempt
            .leaves
            .is_none_or(|folder| Path::new(folder).join(&self.variables["MARK"]).exists())
    }

    fn jail(&self, level: Level, user: Option<u32>) -> Jail {
        let (workspace, home) = (self.path("workspaces/acme/alice"), self.path("homes/own"));
        if let Some(user) = user {
            for path in [&workspace, &home, &home.join("tmp")] {
                std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
            }
        }
        Jail {
            level,
            working_dir: Grant::write(&workspace),
            grants: vec![Grant::write(&home)],
            temporary_dir: home.join("tmp"),
            network: Network {
                ports: Some(vec![80, 443, 22, 53]),
                datagrams: true,
            },
            limits: Limits {
                open_files: 500,
                file_bytes: 32 * 1024 * 1024,
                processes: 200,
                shared_memory_bytes: 1024 * 1024,
            },
            user,
            control_group: None,
            bubblewrap: "/usr/bin/bwrap".into(),
        }
    }

    /// The script, with the world's names written into it.
    fn script(&self, attempt: &Attempt) -> String {
        let assigned: Vec<_> = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"))
            .collect();
        // In a shell of its own: what it changes, and how it ends, is its own.
        format!(
            "export {}; ( {} ) >/dev/null 2>&1",
            assigned.join(" "),
            attempt.script
        )
    }

    /// Runs all attempts as plain processes in a jail; the names of those that got through.
    fn try_plain(&self, jail: Option<&Jail>, as_user: Option<u32>) -> Vec<&'static str> {
        let mut got_through = Vec::new();
        for attempt in ALL {
            self.plant();
            let mut command = match as_user {
                None => Command::new("env"),
                Some(user) => {
                    let mut command = Command::new("setpriv");
                    command.args([
                        format!("--reuid={user}"),
                        format!("--regid={user}"),
                        "--clear-groups".into(),
                    ]);
                    command
                }
            };
            if jail.is_some() {
                command.args([env!("CARGO_BIN_EXE_paddock"), "jail-exec"]);
            }
            // What neither gets through nor fails did not get through.
            let command = command.args(["/usr/bin/timeout", "10"]);
            let status = command
                .args(["/bin/bash", "-c", &self.script(attempt)])
                .env_clear()
                .env(
                    "PATH",
                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                )
                .envs(jail.map(|jail| (VARIABLE, jail.to_variable().unwrap())))
                .current_dir(self.path("workspaces/acme/alice"))
                .stdin(Stdio::null())
                .status()
                .unwrap();
            if status.success() && self.got_through(attempt) {
                got_through.push(attempt.name);
            }
        }
        self.plant();
        got_through
    }
}

/// Whether this test can be run: it changes users, and does what only root can where nothing keeps it from that.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let _told = writeln!(std::io::stderr(), "NOT RUN: this test needs root");
    }
    is_root
}

fn names(filter: impl Fn(&Attempt) -> bool) -> Vec<&'static str> {
    ALL.iter()
        .filter(|attempt| filter(attempt))
        .map(|attempt| attempt.name)
        .collect()
}

/// What a world without jails is to let through. The gateway's own attempt is run where there is a gateway.
fn possible() -> Vec<&'static str> {
    names(|attempt| attempt.name != "use another session's gateway with its token")
}

#[test]
fn without_a_jail_every_attempt_gets_through() {
    if !is_root() {
        return;
    }
    assert!(ALL.len() >= 60, "{} attempts", ALL.len());
    assert_eq!(World::new(AGENT).try_plain(None, None), possible());
}

#[test]
fn plain_processes_get_nothing_out_of_a_landlock_jail_of_the_same_user() {
    if !is_root() {
        return;
    }
    let world = World::new(0);
    let jail = world.jail(Level::Landlock, None);
    let known = names(|attempt| attempt.against == Against::NotLandlockAlone);
    let got_through = world.try_plain(Some(&jail), None);
    // Here the agent is root, though without root's capabilities: what Landlock has no rule for is open to it.
    let beyond: Vec<_> = got_through.iter().filter(|name| !known.contains(name)).collect();
    assert!(beyond.is_empty(), "{beyond:?} got through");
}

#[test]
fn plain_processes_get_nothing_out_of_a_landlock_jail_of_another_user() {
    if !is_root() {
        return;
    }
    let world = World::new(AGENT + 1);
    let jail = world.jail(Level::Landlock, Some(AGENT));
    assert_eq!(world.try_plain(Some(&jail), None), [] as [&str; 0]);
}

#[test]
fn plain_processes_get_nothing_out_of_namespaces() {
    if !is_root() {
        return;
    }
    let world = World::new(AGENT);
    let jail = world.jail(Level::Namespaces, Some(AGENT));
    assert_eq!(world.try_plain(Some(&jail), None), [] as [&str; 0]);
}

#[test]
fn an_ordinary_user_gets_nothing_out_of_either_jail() {
    if !is_root() {
        return;
    }
    let world = World::new(AGENT);
    // The server is that user too.
    let mut jail = world.jail(Level::Landlock, Some(AGENT));
    jail.user = None;
    let known = names(|attempt| attempt.against == Against::NotLandlockAlone);
    let got_through = world.try_plain(Some(&jail), Some(AGENT));
    let beyond: Vec<_> = got_through.iter().filter(|name| !known.contains(name)).collect();
    assert!(beyond.is_empty(), "{beyond:?} got through Landlock");
    jail.level = Level::Namespaces;
    assert_eq!(world.try_plain(Some(&jail), Some(AGENT)), [] as [&str; 0]);
}

/// Runs all attempts by the real CLI's tools, in a session beside another one; the names of those that got through.
async fn try_by_cli(level: IsolationLevel) -> Vec<String> {
    let world = World::new(0);
    let app = AppBuilder::real()
        .with(|settings| {
            settings.isolation.level = level;
            settings.isolation.open_files_max = 500;
            settings.isolation.file_max_bytes = 32 * 1024 * 1024;
            settings.isolation.processes_max = 200;
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    // Another session's agent lives, and its token is known.
    let other = client.session("bob").await;
    let token = tool_output(
        &client,
        &other,
        "% bash echo $ANTHROPIC_BASE_URL $ANTHROPIC_AUTH_TOKEN",
    )
    .await;
    let (url, token) = token.trim().split_once(' ').unwrap();
    let port = url.rsplit(':').next().unwrap();
    std::fs::copy(
        world.path("workspaces/acme/alice/setuid-cat"),
        app.workspace("alice").join("setuid-cat"),
    )
    .unwrap();
    let setuid = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(app.workspace("alice").join("setuid-cat"), setuid).unwrap();
    // The names that attempts go by, on this server.
    let mut variables = world.variables.clone();
    variables.insert("GATEWAY", port.to_owned());
    variables.insert("TOKEN", token.to_owned());
    variables.insert("API", app.address.port().to_string());
    let bob = app.workspace("bob");
    let plant = || {
        world.plant();
        for name in ["secret.txt", "movable"] {
            std::fs::write(bob.join(name), "secret, hidden words").unwrap();
        }
    };
    let names = |script: &str| {
        let assigned: Vec<_> = variables
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"))
            .collect();
        format!(
            "export {}; ( {script} ) >/dev/null 2>&1; echo result=$?",
            assigned.join(" ")
        )
    };
    let mut got_through = Vec::new();
    for attempt in ALL {
        plant();
        let told = tool_output(&client, &id, &format!("% bash {}", names(attempt.script))).await;
        assert!(told.contains("result="), "{}: {told}", attempt.name);
        if told.contains("result=0") && world.got_through(attempt) {
            got_through.push(attempt.name.to_owned());
        }
    }
    plant();
    let secret = bob.join("secret.txt");
    let secret = secret.display();
    for (name, call, success) in [
        ("Read", json!({"file_path": secret.to_string()}), "hidden words"),
        (
            "Read",
            json!({"file_path": format!("{}/../bob/secret.txt", app.workspace("alice").display())}),
            "hidden words",
        ),
        (
            "Write",
            json!({"file_path": bob.join("planted").display().to_string(), "content": "x"}),
            "created",
        ),
        (
            "Write",
            json!({"file_path": format!("/tmp/{}", variables["MARK"]), "content": "x"}),
            "created",
        ),
    ] {
        let told = tool_output(&client, &id, &format!("% tool {name} {call}")).await;
        let mark = Path::new("/tmp").join(&variables["MARK"]);
        let got =
            told.contains(success) && (name != "Write" || bob.join("planted").exists() || mark.exists());
        if got {
            got_through.push(format!("{name} {call}"));
        }
    }
    plant();
    got_through
}

/// What the one tool of a turn put out.
async fn tool_output(client: &Client, session: &str, script: &str) -> String {
    let answer = client.ask(session, script).await.expect(200);
    let call = &answer.body["tool_calls"][0];
    call["output"]
        .as_str()
        .map_or_else(|| call["output"].to_string(), ToOwned::to_owned)
}

#[tokio::test]
async fn the_clis_tools_get_nothing_out_of_namespaces() {
    if !is_root() {
        return;
    }
    assert_eq!(try_by_cli(IsolationLevel::Namespaces).await, [] as [&str; 0]);
}

#[tokio::test]
async fn the_clis_tools_get_nothing_out_of_landlock() {
    if !is_root() {
        return;
    }
    assert_eq!(try_by_cli(IsolationLevel::Landlock).await, [] as [&str; 0]);
}

#[tokio::test]
async fn without_a_jail_the_clis_tools_get_everything() {
    if !is_root() {
        return;
    }
    let got_through = try_by_cli(IsolationLevel::None).await;
    let missing: Vec<_> = names(|_| true)
        .into_iter()
        .filter(|name| !got_through.iter().any(|got| got == name))
        .collect();
    assert!(missing.is_empty(), "{missing:?} did not get through");
    assert!(got_through.len() == ALL.len() + 4, "{got_through:?}");
}
