//! What is tried, as commands of a shell: each exits with zero if, and only if, it got through.

/// One attempt to get out.
pub(super) struct Attempt {
    pub(super) name: &'static str,
    pub(super) script: &'static str,
    /// What it would have left on the machine; where that is not there, it did not get through after all.
    pub(super) leaves: Option<&'static str>,
    pub(super) against: Against,
}

/// By what an attempt is kept from getting through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// By any jail.
    Any,
    /// By a user of its own, or by namespaces: Landlock has no rule for it. `docs/SECURITY.md` says so.
    NotLandlockAlone,
}

const fn attempt(name: &'static str, script: &'static str) -> Attempt {
    Attempt {
        name,
        script,
        leaves: None,
        against: Against::Any,
    }
}

const fn leaving(name: &'static str, script: &'static str, leaves: &'static str) -> Attempt {
    Attempt {
        leaves: Some(leaves),
        ..attempt(name, script)
    }
}

const fn beyond_landlock(name: &'static str, script: &'static str) -> Attempt {
    Attempt {
        against: Against::NotLandlockAlone,
        ..attempt(name, script)
    }
}

/// All of them. `$OTHER` is the workspace of another user, `$RIVAL` one of another tenant; `$OTHER_HOME` the private home
/// of another session; `$VICTIM` a process outside; `$MARK` a name that nothing else has.
pub(super) const ALL: &[Attempt] = &[
    // Other users' files.
    attempt("read another user's file", r#"grep secret "$OTHER/secret.txt""#),
    attempt("read another tenant's file", r#"grep secret "$RIVAL/secret.txt""#),
    attempt("read through ..", r#"grep secret "$PWD/../bob/secret.txt""#),
    attempt(
        "read through many ..",
        r#"cd /; grep secret "../../..$OTHER/secret.txt""#,
    ),
    attempt(
        "read through a link to a file",
        r#"ln -sf "$OTHER/secret.txt" l1; grep secret l1"#,
    ),
    attempt(
        "read through a link to a folder",
        r#"ln -sfn "$OTHER" l2; grep secret l2/secret.txt"#,
    ),
    attempt(
        "read through a relative link",
        "ln -sfn ../bob l3; grep secret l3/secret.txt",
    ),
    attempt(
        "read through a hard link",
        r#"rm -f h1; ln "$OTHER/secret.txt" h1; grep secret h1"#,
    ),
    attempt("list another user's folde", r#"ls "$OTHER" | grep secret"#),
    attempt("list all users", r#"ls "$PWD/.." | grep bob"#),
    attempt("write into another user's folde", r#"echo x > "$OTHER/planted""#),
    attempt(
        "append to another user's file",
        r#"echo x >> "$OTHER/secret.txt""#,
    ),
    attempt(
        "cut another user's file short",
        r#"truncate -s 0 "$OTHER/secret.txt""#,
    ),
    attempt(
        "rename another user's file",
        r#"mv "$OTHER/movable" "$OTHER/moved""#,
    ),
    attempt("take another user's file", r#"mv "$OTHER/movable" ./taken"#),
    attempt("remove another user's file", r#"rm "$OTHER/movable""#),
    attempt("make a folder of another user's", r#"mkdir "$OTHER/folde""#),
    attempt(
        "link into another user's folder",
        r#"ln -s /etc/passwd "$OTHER/link""#,
    ),
    attempt("make a pipe in another user's folde", r#"mkfifo "$OTHER/fifo""#),
    attempt("run another user's program", r#""$OTHER/program""#),
    attempt(
        "copy another user's tree",
        r#"cp -r "$OTHER" copy; grep secret copy/secret.txt"#,
    ),
    attempt(
        "pack another user's tree",
        r#"tar cf tree.tar -C "$OTHER" secret.txt"#,
    ),
    beyond_landlock("close another user's file", r#"chmod 0 "$OTHER/secret.txt""#),
    beyond_landlock(
        "see how long another user's file is",
        r#"stat "$OTHER/secret.txt""#,
    ),
    beyond_landlock(
        "watch another user's folder",
        r#"perl -e '$f = syscall(294, 0); exit(syscall(254, $f, $ARGV[0], 0x100) < 0)' "$OTHER""#,
    ),
    // Other processes, by /proc.
    attempt(
        "read through /proc/self/root",
        r#"grep secret "/proc/self/root$OTHER/secret.txt""#,
    ),
    attempt(
        "read through another's root",
        r#"grep secret "/proc/$VICTIM/root$OTHER/secret.txt""#,
    ),
    attempt(
        "read through another's folder",
        r#"grep secret "/proc/$VICTIM/cwd/secret.txt""#,
    ),
    attempt(
        "read through another's descriptor",
        r#"grep secret "/proc/$VICTIM/fd/0""#,
    ),
    attempt(
        "read another's environment",
        r#"grep -a VICTIM_SECRET "/proc/$VICTIM/environ""#,
    ),
    attempt(
        "read another's command line",
        r#"grep -a sleep "/proc/$VICTIM/cmdline""#,
    ),
    attempt(
        "read where another's memory lies",
        r#"grep -a r-xp "/proc/$VICTIM/maps""#,
    ),
    attempt(
        "read another's memory",
        r#"m=$(head -n 1 "/proc/$VICTIM/maps" | cut -d- -f1); perl -e 'open F, "<", "/proc/$ARGV[0]/mem" or exit 1; sysseek F, hex $ARGV[1], 0; exit(sysread(F, $b, 4) != 4)' "$VICTIM" "$m""#,
    ),
    attempt("see another's program", r#"readlink "/proc/$VICTIM/exe""#),
    attempt("list processes", r#"ls /proc | grep -x "$VICTIM""#),
    attempt(
        "read the server's environment",
        r#"grep -a PATH "/proc/$SERVER/environ""#,
    ),
    attempt(
        "read the server's command line",
        r#"grep -a . "/proc/$SERVER/cmdline""#,
    ),
    // The server's files.
    attempt(
        "read the server's database",
        r#"head -c 16 "$FOLDER/paddock.db" | grep -a SQLite"#,
    ),
    attempt("write the server's database", r#"true >> "$FOLDER/paddock.db""#),
    attempt(
        "read the server's settings",
        r#"grep admin_key "$FOLDER/config.yaml""#,
    ),
    attempt("list all homes", r#"ls "$FOLDER/homes" | grep ten_"#),
    attempt(
        "read another session's home",
        r#"ls -A "$OTHER_HOME" | grep claude"#,
    ),
    attempt(
        "read another session's transcripts",
        r#"cat "$OTHER_HOME/.claude/projects/p/t.jsonl""#,
    ),
    attempt(
        "find another session's sockets",
        r#"ls -A "$OTHER_HOME/tmp" | grep sock"#,
    ),
    attempt("change the server's program", r#"true >> "$FOLDER/program""#),
    // The machine's files.
    attempt("list /root", "ls -A /root | grep ."),
    attempt("list the server's folde", r#"ls "$FOLDER" | grep ."#),
    leaving("write to /tmp", r#"echo x > "/tmp/$MARK""#, "/tmp"),
    leaving("write to /var/tmp", r#"echo x > "/var/tmp/$MARK""#, "/var/tmp"),
    leaving("write to /dev/shm", r#"echo x > "/dev/shm/$MARK""#, "/dev/shm"),
    leaving("write to /etc", r#"echo x > "/etc/$MARK""#, "/etc"),
    leaving(
        "plant a job of cron's",
        r#"echo x > "/etc/cron.d/$MARK""#,
        "/etc/cron.d",
    ),
    leaving(
        "write a program",
        r#"echo x > "/usr/local/bin/$MARK""#,
        "/usr/local/bin",
    ),
    attempt("read the passwords", "grep root /etc/shadow"),
    attempt(
        "read the kernel's messages",
        "timeout 2 dd if=/dev/kmsg bs=8192 count=1",
    ),
    attempt("see the network's devices", "ls /sys/class/net | grep lo"),
    // Planted for another session.
    attempt(
        "plant a git hook",
        r#"mkdir -p "$OTHER/.git/hooks" && echo x > "$OTHER/.git/hooks/post-checkout""#,
    ),
    attempt(
        "plant settings in a workspace",
        r#"mkdir -p "$OTHER/.claude" && echo {} > "$OTHER/.claude/settings.json""#,
    ),
    attempt(
        "plant settings in a home",
        r#"echo {} > "$OTHER_HOME/.claude/settings.json""#,
    ),
    attempt(
        "plant a library to be loaded",
        r#"echo "export LD_PRELOAD=$PWD/x.so" >> "$OTHER_HOME/.bashrc""#,
    ),
    // Sockets.
    attempt(
        "connect to a Unix socket",
        r#"perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or exit 1; exit !connect(S, pack_sockaddr_un($ARGV[0]))' "$FOLDER/docker.sock""#,
    ),
    attempt(
        "connect to an abstract socket",
        r#"perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0) or exit 1; exit !connect(S, pack("Sa*", AF_UNIX, "\0$ARGV[0]"))' "$ABSTRACT""#,
    ),
    attempt("connect to the serve", r#"exec 3<>"/dev/tcp/127.0.0.1/$API""#),
    attempt(
        "connect to the server by its name",
        r#"exec 3<>"/dev/tcp/localhost/$API""#,
    ),
    attempt(
        "connect to the database",
        r#"exec 3<>"/dev/tcp/127.0.0.1/$DATABASE""#,
    ),
    attempt(
        "use another session's gateway with its token",
        r#"exec 3<>"/dev/tcp/127.0.0.1/$GATEWAY" && printf 'GET /v1/models HTTP/1.1\r\nHost: x\r\nx-api-key: %s\r\nConnection: close\r\n\r\n' "$TOKEN" >&3 && timeout 5 grep -a -m 1 "200 OK" <&3"#,
    ),
    attempt(
        "connect by another protocol that becomes TCP",
        r#"perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 262) or exit 1; exit !connect(S, pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1")))' "$DATABASE""#,
    ),
    attempt(
        "connect by sending",
        r#"perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) or exit 1; exit !defined(send(S, "x", 0x20000000, pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))))' "$DATABASE""#,
    ),
    attempt(
        "listen",
        "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) or exit 1; bind(S, pack_sockaddr_in(0, INADDR_ANY)) or exit 1; exit !listen(S, 1)'",
    ),
    attempt(
        "make a raw socket",
        "perl -MSocket -e 'exit !socket(S, AF_INET, SOCK_RAW, 1)'",
    ),
    attempt("make a packet socket", "perl -e 'exit !socket(S, 17, 3, 768)'"),
    // Signals and other processes' memory.
    attempt("signal another process", r#"kill -0 "$VICTIM""#),
    attempt("wake another process", r#"kill -CONT "$VICTIM""#),
    attempt("signal the serve", r#"kill -0 "$SERVER""#),
    attempt(
        "signal by a handle",
        r#"perl -e '$p = syscall(434, 0 + $ARGV[0], 0); exit 1 if $p < 0; exit(syscall(424, $p, 18, 0, 0) < 0)' "$VICTIM""#,
    ),
    attempt(
        "trace another process",
        r#"perl -e 'exit(syscall(101, 0x4206, 0 + $ARGV[0], 0, 0) < 0)' "$VICTIM""#,
    ),
    attempt(
        "read another's memory by a call",
        r#"perl -e '$b = "x" x 8; $l = pack("P8 Q", $b, 8); $r = pack("Q Q", $ARGV[1], 8); $n = syscall(310, 0 + $ARGV[0], $l, 1, $r, 1, 0); exit($n < 0 && $! != 14)' "$VICTIM" 4096"#,
    ),
    // The kernel.
    attempt(
        "mount",
        r#"mkdir -p m; mount --bind "$OTHER" m && grep secret m/secret.txt; r=$?; umount m; exit $r"#,
    ),
    attempt("make namespaces", "unshare --user --map-root-user true"),
    attempt("change the root", "chroot / true"),
    attempt("make a device", "rm -f dev; mknod dev b 254 0"),
    attempt(
        "use io_uring",
        r#"perl -e '$p = "\0" x 120; exit(syscall(425, 1, $p) < 0)'"#,
    ),
    attempt(
        "load a program into the kernel",
        r#"perl -e '$a = pack("L4", 2, 4, 8, 1) . "\0" x 56; exit(syscall(321, 0, $a, 72) < 0)'"#,
    ),
    attempt(
        "use keys of the user",
        "perl -e 'exit(syscall(250, 0, -3, 1) < 0)'",
    ),
    attempt("handle faults of memory", "perl -e 'exit(syscall(323, 1) < 0)'"),
    attempt(
        "open files by number",
        r#"perl -e '$h = pack("L L", 128, 0) . "\0" x 128; $m = "\0" x 4; exit(syscall(303, -100, $ARGV[0], $h, $m, 0) < 0)' /usr"#,
    ),
    attempt("set the machine's name", r#"hostname "$(hostname)""#),
    // What a process may use.
    attempt("write core files", "ulimit -c unlimited"),
    attempt("raise the limit of open files", "ulimit -n 4000"),
    attempt(
        "open a thousand files",
        r#"perl -e 'for (1 .. 1000) { open(my $f, "<", "/dev/null") or exit 1; push @f, $f }'"#,
    ),
    attempt("write a long file", "dd if=/dev/zero of=long bs=1M count=40"),
    beyond_landlock(
        "start four hundred processes",
        "perl -e 'for (1 .. 400) { my $p = fork; if (!defined $p) { kill 9, @p; exit 1 } if (!$p) { sleep 20; exit } push @p, $p } kill 9, @p'",
    ),
    beyond_landlock(
        "run a program with another's rights",
        r#"./setuid-cat "$FOLDER/rootly" | grep rootly"#,
    ),
];
