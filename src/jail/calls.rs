//! seccomp: the system calls that no build tool needs, and the ways around Landlock's rules.
//!
//! What is refused answers `EPERM`, as if the kernel did not allow it; what a program may ask for with a better way to
//! fall back to answers as if the kernel did not have it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{JailError, Network};

/// Calls that are refused whatever they ask for.
const REFUSED: &[i64] = &[
    // What is mounted where.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // Namespaces: in one of its own, a process has capabilities, and a kernel to try them on.
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel itself.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // Keys, which belong to the user and not to the jail.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Files by number, past the folders they are in.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    // Another process's descriptors, and where its memory lies.
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];

/// Calls that programs do without when the kernel does not have them. What they would do cannot be looked into.
const ABSENT: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// The kinds of namespaces that `clone` makes.
const NEW_NAMESPACES: &[i32] = &[
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Terminal commands by which input is put into another's mouth.
const TERMINAL_INPUT: &[u64] = &[0x5412, 0x541c];

/// Protocols of internet sockets that Landlock's rules, or no rules, are for. MPTCP and SCTP would slip by them.
const PROTOCOLS: &[i32] = &[
    0,
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
    libc::IPPROTO_ICMP,
    libc::IPPROTO_ICMPV6,
];

/// The part of a socket's type that is not a flag.
const SOCKET_TYPE: u64 = 0xf;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Built<T> = Result<T, seccompiler::BackendError>;

/// Refuses these calls to this process and its descendants.
pub(super) fn restrict(network: &Network, unix_sockets: bool) -> Result<(), JailError> {
    let step = "restricting system calls (seccomp)";
    for (rules, errno) in [
        (refused(), libc::EPERM),
        (Ok(absent()), libc::ENOSYS),
        (sockets(network, unix_sockets), libc::EACCES),
    ] {
        let program = rules
            .and_then(|rules| filter(rules, errno))
            .map_err(JailError::step(step))?;
        seccompiler::apply_filter(&program).map_err(JailError::step(step))?;
    }
    Ok(())
}

fn filter(rules: Rules, errno: i32) -> Built<BpfProgram> {
    let rules = with_x32(rules);
    SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}

/// On x86-64 every call has a second number, which a filter would not know it by.
fn with_x32(mut rules: Rules) -> Rules {
    if cfg!(target_arch = "x86_64") {
        let second: Vec<_> = rules
            .iter()
            .map(|(call, rules)| (call | 0x4000_0000, rules.clone()))
            .collect();
        rules.extend(second);
    }
    rules
}

fn refused() -> Built<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let new_namespaces = NEW_NAMESPACES
        .iter()
        .map(|flag| rule(vec![has_flag(0, u64::from(flag.unsigned_abs()))?]));
    rules.insert(libc::SYS_clone, new_namespaces.collect::<Built<_>>()?);
    let terminal_input = TERMINAL_INPUT.iter().map(|command| rule(vec![is(1, *command)?]));
    rules.insert(libc::SYS_ioctl, terminal_input.collect::<Built<_>>()?);
    Ok(rules)
}

fn absent() -> Rules {
    ABSENT.iter().map(|call| (*call, Vec::new())).collect()
}

fn sockets(network: &Network, unix_sockets: bool) -> Built<Rules> {
    let mut families = vec![libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    if unix_sockets {
        families.push(libc::AF_UNIX);
    }
    let other_family = families
        .iter()
        .map(|family| is_not(0, *family))
        .collect::<Built<_>>()?;
    let mut socket = vec![rule(other_family)?];
    let mut rules = Rules::new();
    if network.ports.is_some() {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut other_protocol = vec![is(0, u64::from(family.unsigned_abs()))?];
            for protocol in PROTOCOLS {
                other_protocol.push(is_not(2, *protocol)?);
            }
            socket.push(rule(other_protocol)?);
        }
        // Data that is sent along with a connection makes it without asking Landlock.
        let fast_open = u64::from(libc::MSG_FASTOPEN.unsigned_abs());
        for (call, flags) in [
            (libc::SYS_sendto, 3),
            (libc::SYS_sendmsg, 2),
            (libc::SYS_sendmmsg, 3),
        ] {
            rules.insert(call, vec![rule(vec![has_flag(flags, fast_open)?])?]);
        }
    }
    let mut kinds = Vec::new();
    if network.ports.is_some() {
        kinds.push(libc::SOCK_RAW);
    }
    if !network.datagrams {
        kinds.push(libc::SOCK_DGRAM);
    }
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in &kinds {
            socket.push(rule(vec![
                is(0, u64::from(family.unsigned_abs()))?,
                SeccompCondition::new(
                    1,
                    SeccompCmpArgLen::Dword,
                    SeccompCmpOp::MaskedEq(SOCKET_TYPE),
                    u64::from(kind.unsigned_abs()),
                )?,
            ])?);
        }
    }
    rules.insert(libc::SYS_socket, socket);
    Ok(rules)
}

fn rule(conditions: Vec<SeccompCondition>) -> Built<SeccompRule> {
    SeccompRule::new(conditions)
}

fn is(argument: u8, value: u64) -> Built<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: i32) -> Built<SeccompCondition> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
}

fn has_flag(argument: u8, flag: u64) -> Built<SeccompCondition> {
    SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(flag),
        flag,
    )
}
