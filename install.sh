#!/bin/sh
# Installs docker-ram: for all users (as root), for one developer (--user), or not at all (--demo, --dry-run); or the server
# that an organization keeps its policy on (--organization-server).
# Everything that is put on the machine is written down with its checksum, and --uninstall takes back exactly that.
set -eu
umask 022

usage() {
    cat <<'EOF'
Usage: ./install.sh [OPTION]...

Without options, as root: builds docker-ram and installs it for all users of
this machine.

  --user            install the Docker CLI plugin and the credential helper for
                    you alone, without root
  --organization-server
                    install docker-ram-server instead, on which an organization
                    keeps its policy
  --uninstall       take everything back (with --user: what --user installed;
                    with --organization-server: the server, but not its data)
  --purge           with --uninstall: remove /etc/docker-ram too, the policy
                    included; with --organization-server: all of its data
  --demo            show on a private engine, without touching this machine's
                    Docker, what docker-ram does
  --keep            with --demo: leave it running, for a look at the dashboard,
                    until Ctrl-C
  --dry-run         say what would be done, and do nothing
  --prebuilt DIR    take the programs from DIR instead of building them
  --no-setup        do not run "docker ram setup" for the person who calls
  --restart-docker  restart Docker at the end, which stops containers unless
                    live-restore is set; until then builds and logins are not
                    enforced
  --server URL      enroll this machine: follow the policy of the organization
                    whose server this is; goes with the next two
  --organization NAME
                    which organization
  --fingerprint sha256:...
                    the fingerprint of its root key
  --require-sign-in refuse every registry until a member has signed in
  --enrollment-token FILE
                    what lets this machine in, where the organization takes in
                    only who shows an enrollment token
  --certificate-authority FILE
                    what vouches for the server, if not the system's own
  --root DIR        install under DIR instead of / (for images and tests)
  -h, --help        show this text

Example: sudo ./install.sh --dry-run
EOF
}

# ---------------------------------------------------------------------------------------------------------------------
# Words

program=install.sh
say() { printf '%s\n' "$*"; }
step() { printf '==> %s\n' "$*"; }
warn() { printf '%s: %s\n' "$program" "$*" >&2; }
hint() { printf '%s: hint: %s\n' "$program" "$*" >&2; }
fail() {
    warn "error: $1"
    shift
    for text in "$@"; do hint "$text"; done
    exit 1
}
wrong_usage() {
    warn "error: $1"
    hint "run ./install.sh --help"
    exit 64
}

# ---------------------------------------------------------------------------------------------------------------------
# What is asked for

mode=system
uninstall=no purge=no dry_run=no setup=yes restart_docker=no keep=no prebuilt='' root=''
server='' organization='' fingerprint='' certificate_authority='' require_sign_in=no enrollment_token=''
while [ $# -gt 0 ]; do
    case $1 in
        --user) mode=user ;;
        --organization-server) mode=organization ;;
        --demo) mode=demo ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=yes ;;
        --keep) keep=yes ;;
        --dry-run) dry_run=yes ;;
        --no-setup) setup=no ;;
        --restart-docker) restart_docker=yes ;;
        --require-sign-in) require_sign_in=yes ;;
        --server | --organization | --fingerprint | --certificate-authority | --enrollment-token)
            [ -n "${2:-}" ] || wrong_usage "$1 needs a value"
            case $1 in
                --server) server=$2 ;;
                --organization) organization=$2 ;;
                --fingerprint) fingerprint=$2 ;;
                --certificate-authority) certificate_authority=$2 ;;
                --enrollment-token) enrollment_token=$2 ;;
            esac
            shift
            ;;
        --prebuilt | --root)
            [ -n "${2:-}" ] || wrong_usage "$1 needs a directory"
            if [ "$1" = --prebuilt ]; then prebuilt=$2; else root=$2; fi
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        *) wrong_usage "unknown option \"$1\"" ;;
    esac
    shift
done
[ $purge = no ] || [ $uninstall = yes ] || wrong_usage "--purge goes with --uninstall"
[ $keep = no ] || [ $mode = demo ] || wrong_usage "--keep goes with --demo"
case $mode in
    user | demo)
        [ $purge = no ] || wrong_usage "--purge goes with an installation for all users"
        [ -z "$root" ] || wrong_usage "--root goes with an installation for all users"
        ;;
esac
[ $restart_docker = no ] || { [ $mode = system ] && [ -z "$root" ]; } ||
    wrong_usage "--restart-docker goes with an installation for all users of this machine"
if [ -n "$server$organization$fingerprint$certificate_authority$enrollment_token" ] || [ $require_sign_in = yes ]; then
    [ $mode-$uninstall = system-no ] || wrong_usage "--server goes with an installation for all users"
    [ -n "$server" ] && [ -n "$organization" ] && [ -n "$fingerprint" ] ||
        wrong_usage "--server, --organization and --fingerprint go together"
    [ -z "$enrollment_token" ] || [ -r "$enrollment_token" ] ||
        fail "the file \"$enrollment_token\" given with --enrollment-token cannot be read"
fi
[ $mode != demo ] || [ $uninstall = no ] || wrong_usage "--demo leaves nothing to uninstall"
[ $mode != demo ] || [ $dry_run = no ] || wrong_usage "--demo has no dry run"

source_directory=$(cd -- "$(dirname -- "$0")" && pwd -P)
metadata=$source_directory/plugin-metadata
if [ -n "$prebuilt" ]; then
    given=$prebuilt
    prebuilt=$(cd -- "$given" 2>/dev/null && pwd -P) || fail "the directory \"$given\" given with --prebuilt does not exist"
fi
if [ -n "$root" ]; then
    given=$root
    root=$(cd -- "$given" 2>/dev/null && pwd -P) || fail "the directory \"$given\" given with --root does not exist"
    [ "$root" != / ] || root=''
fi

is_root() { [ "$(id -u)" -eq 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }
# Whether the machine itself is meant, and systemd runs it.
systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ] && has systemctl; }
# Does something, or says that it would.
act() {
    if [ $dry_run = yes ]; then say "would run: $*"; else "$@"; fi
}

# Says what was done, if it was.
did() { [ $dry_run = yes ] || say "$*"; }

# ---------------------------------------------------------------------------------------------------------------------
# What was installed: one line each, fields separated by tabs
#
#   file       PATH  SHA256  SAVED     SAVED is what was there before, or -
#   link       PATH  TARGET
#   directory  PATH
#   account    NAME
#   setup      NAME
#
# Paths are without the root.

undo_directory='' record=''
tab=$(printf '\t')

checksum() { sha256sum <"$1" | cut -d ' ' -f 1; }
recorded() { [ -f "$record" ] && awk -F '\t' -v k="$1" -v p="$2" '$1 == k && $2 == p { found = 1 } END { exit !found }' "$record"; }
recorded_field() {
    [ -f "$record" ] && awk -F '\t' -v k="$1" -v p="$2" -v n="$3" '$1 == k && $2 == p { print $n }' "$record"
}
# Makes the directory of the record, and writes down which directories above it were missing.
make_undo_directory() {
    [ ! -d "$undo_directory" ] || return 0
    above=$(dirname "$undo_directory") lines=''
    while [ ! -d "$above" ]; do
        lines="directory$tab${above#"$root"}
$lines"
        above=$(dirname "$above")
    done
    mkdir -p "$(dirname "$undo_directory")"
    mkdir -m 0700 "$undo_directory"
    printf '%s' "$lines" >"$record"
}
# Writes one line down, in place of an earlier one about the same thing.
write_down() {
    [ $dry_run = no ] || return 0
    make_undo_directory
    new=$record.new
    {
        if [ -f "$record" ]; then
            awk -F '\t' -v k="$1" -v p="$2" '!($1 == k && $2 == p)' "$record"
        fi
        line=$1
        shift
        for field in "$@"; do line=$line$tab$field; done
        printf '%s\n' "$line"
    } >"$new"
    mv -f "$new" "$record"
}

# Refuses a root whose links lead out of it: what is meant for an image would go to the machine itself.
stay_under_root() {
    [ -n "$root" ] || return 0
    for place in /etc/docker /etc/docker-ram /etc/default /etc/sysusers.d $units /usr/local/bin /usr/local/lib/docker/cli-plugins \
        $libexec /usr/local/share /var/lib; do
        while [ ! -d "$root$place" ] && [ ! -L "$root$place" ]; do place=$(dirname "$place"); done
        case $(cd -- "$root$place" 2>/dev/null && pwd -P)/ in
            "$root"/*) ;;
            *) fail "\"$root$place\" is a link that leads out of \"$root\"" "make it a relative link, or a directory" ;;
        esac
    done
}

# Makes a directory and those above it that are missing.
make_directory() {
    [ ! -d "$root$1" ] || return 0
    make_directory "$(dirname "$1")"
    if [ $dry_run = yes ]; then return 0; fi
    write_down directory "$1"
    mkdir -m 0755 "$root$1"
}

# Puts a file in its place: SOURCE MODE PATH. What others changed since is left alone.
put_file() {
    new_sum=$(checksum "$1")
    saved=-
    if [ -e "$root$3" ] || [ -L "$root$3" ]; then
        if [ ! -f "$root$3" ] || [ -L "$root$3" ]; then fail "\"$root$3\" is in the way and not a plain file"; fi
        old_sum=$(checksum "$root$3")
        if recorded file "$3"; then
            saved=$(recorded_field file "$3" 4)
            if [ "$old_sum" = "$new_sum" ]; then
                say "unchanged  $root$3"
                return 0
            fi
            # Where ".new" is what is written down, an earlier run was cut off before it put that in place.
            known_sum=$(recorded_field file "$3" 3)
            if [ "$old_sum" != "$known_sum" ] &&
                ! { [ -f "$root$3.new" ] && [ "$(checksum "$root$3.new")" = "$known_sum" ]; }; then
                warn "\"$root$3\" was changed since it was installed and is left as it is"
                return 0
            fi
        elif [ "$old_sum" = "$new_sum" ]; then
            say "found      $root$3"
            return 0
        else
            saved=saved-$(printf '%s' "$3" | tr / _)
            if [ $dry_run = no ]; then
                make_undo_directory
                cp -p "$root$3" "$undo_directory/$saved"
            fi
        fi
    fi
    if [ $dry_run = yes ]; then
        say "would put  $root$3"
        return 0
    fi
    make_directory "$(dirname "$3")"
    cp "$1" "$root$3.new"
    chmod "$2" "$root$3.new"
    write_down file "$3" "$new_sum" "$saved"
    mv -f "$root$3.new" "$root$3"
    say "installed  $root$3"
}

# Makes a symbolic link: TARGET PATH.
put_link() {
    if [ "$(readlink "$root$2" 2>/dev/null || true)" = "$1" ]; then return 0; fi
    if [ $dry_run = yes ]; then
        say "would link $root$2"
        return 0
    fi
    make_directory "$(dirname "$2")"
    write_down link "$2" "$1"
    ln -sf "$1" "$root$2"
}

# What docker-ramd and docker-ram-server have both put something in goes with the one that is uninstalled last.
leave_directory() {
    [ $mode != user ] || return 0
    for other in "$root/var/lib/docker-ram-undo/installed" "$root/var/lib/docker-ram-server-undo/installed"; do
        if [ "$other" = "$record" ] || [ ! -f "$other" ]; then continue; fi
        # First, as all that is in it is taken back before.
        { printf 'directory%s%s\n' "$tab" "$1" && cat "$other"; } >"$other.new"
        mv -f "$other.new" "$other"
    done
}

# Takes back what is written down, the last first.
take_back_files() {
    [ -f "$record" ] || return 0
    backwards=$(awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$record")
    kept=no
    while IFS=$tab read -r kind path detail saved; do
        case $kind in
            file)
                [ -e "$root$path" ] || continue
                if [ "$(checksum "$root$path")" != "$detail" ]; then
                    warn "\"$root$path\" was changed since it was installed and is left as it is"
                    if [ "$saved" != - ]; then
                        kept=yes
                        warn "what it held before is in \"$undo_directory/$saved\""
                    fi
                elif [ "$saved" != - ]; then
                    act cp -p "$undo_directory/$saved" "$root$path"
                    act rm -f "$undo_directory/$saved"
                    did "gave back  $root$path"
                else
                    act rm -f "$root$path"
                    did "removed    $root$path"
                fi
                ;;
            link)
                [ "$(readlink "$root$path" 2>/dev/null || true)" != "$detail" ] || act rm -f "$root$path"
                ;;
        esac
    done <<EOF
$backwards
EOF
    act rm -f "$record"
    [ $dry_run = no ] || return 0
    if [ $kept = no ] && [ -d "$undo_directory" ]; then
        rmdir "$undo_directory" 2>/dev/null || warn "\"$undo_directory\" still holds something and is left"
    fi
    # Directories last, and only those in which nobody else put anything.
    while IFS=$tab read -r kind path detail saved; do
        if [ "$kind" = directory ] && [ -d "$root$path" ]; then
            rmdir "$root$path" 2>/dev/null || leave_directory "$path"
        fi
    done <<EOF
$backwards
EOF
}

# ---------------------------------------------------------------------------------------------------------------------
# Debian packages, and the three programs

# Installs missing packages as root, else says what to do. Services of the packages do not start.
need_packages() {
    missing=''
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if [ $dry_run = yes ]; then
        say "would install the Debian packages:$missing"
        return 0
    fi
    is_root || fail "these Debian packages are missing:$missing" "run: sudo apt-get install$missing"
    step "installing Debian packages:$missing"
    # shellcheck disable=SC2086
    install_packages_without_starting $missing
}

# invoke-rc.d asks this program before it starts a service; 101 means no.
policy_rc=/usr/sbin/policy-rc.d
install_packages_without_starting() {
    policy_rc_before=no
    if [ -e $policy_rc ] || [ -L $policy_rc ]; then
        policy_rc_before=yes
        mv $policy_rc $policy_rc.docker-ram
    fi
    trap give_back_policy_rc EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >$policy_rc
    chmod 0755 $policy_rc
    status=0
    apt_get "$@" || { apt-get update -q </dev/null && apt_get "$@"; } || status=$?
    trap - EXIT INT TERM HUP
    give_back_policy_rc
    [ $status -eq 0 ] || fail "the packages could not be installed" "look at what apt-get said above"
}
give_back_policy_rc() {
    rm -f $policy_rc
    if [ $policy_rc_before = yes ]; then mv $policy_rc.docker-ram $policy_rc; fi
}
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-remove --no-install-recommends "$@" </dev/null
}

# Builds the programs, or takes those of --prebuilt. Sets $binaries.
programs='docker-ram docker-credential-ram docker-ramd'
have_programs() {
    if [ -n "$prebuilt" ]; then
        for name in $programs; do
            if [ ! -f "$prebuilt/$name" ] || [ ! -x "$prebuilt/$name" ]; then
                fail "there is no program \"$prebuilt/$name\""
            fi
        done
        binaries=$prebuilt
        return 0
    fi
    if has dpkg-query; then
        need_packages libsecret-1-dev zlib1g-dev pkg-config
        case $programs in *docker-ram-server*) need_packages libsqlite3-dev ;; esac
    elif ! { has pkg-config && pkg-config --exists libsecret-1; }; then
        fail "the headers of libsecret are missing" "install pkg-config and your system's libsecret-1 development package"
    fi
    binaries=$source_directory/.build/release
    if [ $dry_run = yes ]; then
        say "would build $programs in $source_directory"
        return 0
    fi
    for name in $wanted_programs; do
        step "building $name (the first build takes some minutes)"
        build "$name" || fail "$name could not be built"
    done
}
build() {
    # Without the names of functions, which only a debugger reads, programs are a third to a half as long.
    set -- swift build --package-path "$source_directory" -c release --static-swift-stdlib --disable-local-rpath \
        -Xlinker -s --product "$1"
    # What a person's own checkout builds belongs to that person, and often only that person finds the toolchain.
    if is_root && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ] &&
        [ "$(stat -c %U "$source_directory")" = "$SUDO_USER" ]; then
        line=''
        for word in "$@"; do line="$line '$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'"; done
        runuser -l "$SUDO_USER" -c "$line" </dev/null
    else
        has swift || fail "the Swift toolchain is missing" "see https://www.swift.org/install, or give built programs with --prebuilt"
        "$@" </dev/null
    fi
}

# ---------------------------------------------------------------------------------------------------------------------
# For all users

libexec=/usr/local/libexec
plugin=/usr/local/lib/docker/cli-plugins/docker-ram
helper=/usr/local/bin/docker-credential-ram
units=/etc/systemd/system
account=docker-ram
sockets='docker-ramd-plugin.socket docker-ramd-control.socket docker-ramd-proxy.socket'

# Runs the installed docker-ram on the files under the root.
docker_ram() { DOCKER_RAM_ROOT=${root:-/} "$root$plugin" ram "$@"; }

# The person who called, also through sudo.
calling_person() {
    if [ -n "${SUDO_USER:-}" ]; then printf '%s\n' "$SUDO_USER"; else id -un; fi
}
# Runs a command as somebody, in that person's home: NAME COMMAND...
run_as() {
    name=$1
    shift
    home=$(getent passwd "$name" | cut -d : -f 6)
    [ -n "$home" ] && [ -d "$home" ] || return 1
    if [ "$(id -un)" = "$name" ]; then
        (cd "$home" && HOME=$home "$@")
    else
        (cd "$home" && runuser -u "$name" -- env -i "HOME=$home" "USER=$name" "LOGNAME=$name" \
            "PATH=/usr/local/bin:/usr/bin:/bin" "$@")
    fi
}

# Makes $account; what systemd-sysusers reads about it is in place already.
make_account() {
    if [ -n "$root" ] && [ ! -f "$root/etc/passwd" ]; then
        say "skipped    account $account: there is no $root/etc/passwd"
        return 0
    fi
    if grep -q "^$account:" "$root/etc/passwd" 2>/dev/null; then
        say "unchanged  account $account"
        return 0
    fi
    write_down account "$account"
    if has systemd-sysusers; then
        act systemd-sysusers --root="${root:-/}" "$root/etc/sysusers.d/$account.conf"
    else
        act useradd --prefix "${root:-/}" --system --user-group --no-create-home \
            --home-dir "/var/lib/$account" --shell /usr/sbin/nologin "$account"
    fi
    did "made       account $account"
}

# Makes a directory $account's own.
give_to_account() {
    if [ $dry_run = no ] && grep -q "^$account:" "$root/etc/passwd" 2>/dev/null; then
        chown "$(awk -F : -v n=$account '$1 == n { print $3 ":" $4 }' "$root/etc/passwd")" "$root$1"
    fi
}

remove_account() {
    grep -q "^$account:" "$root/etc/passwd" 2>/dev/null || return 0
    act userdel --prefix "${root:-/}" "$account"
    if [ $dry_run = no ] && grep -q "^$account:" "$root/etc/group"; then
        groupdel --prefix "${root:-/}" "$account"
    fi
    did "removed    account $account"
}

install_for_all() {
    is_root || fail "only root can install for all users" "run: sudo ./install.sh" "or, for yourself alone: ./install.sh --user"
    stay_under_root
    undo_directory=$root/var/lib/docker-ram-undo record=$root/var/lib/docker-ram-undo/installed
    wanted_programs=$programs
    have_programs
    step "installing under ${root:-/}"
    for name in $programs; do
        case $name in
            docker-ram) place=$plugin ;;
            docker-credential-ram) place=$helper ;;
            docker-ramd) place=$libexec/docker-ramd ;;
        esac
        if [ $dry_run = yes ] && [ ! -f "$binaries/$name" ]; then
            say "would put  $root$place"
        else
            put_file "$binaries/$name" 0755 "$place"
        fi
    done
    put_file "$metadata/systemd/sysusers.conf" 0644 /etc/sysusers.d/docker-ram.conf
    put_file "$metadata/systemd/docker-ramd.service" 0644 $units/docker-ramd.service
    for socket in $sockets; do
        put_file "$metadata/systemd/$socket" 0644 "$units/$socket"
        put_link "../$socket" "$units/sockets.target.wants/$socket"
    done
    put_file "$metadata/systemd/docker.service.conf" 0644 $units/docker.service.d/50-docker-ram.conf
    for unit in docker-ram-doctor.service docker-ram-doctor.timer; do
        put_file "$metadata/systemd/$unit" 0644 $units/$unit
    done
    put_link ../docker-ram-doctor.timer $units/timers.target.wants/docker-ram-doctor.timer
    for example in policy.json daemon.json ram.json; do
        put_file "$metadata/examples/$example" 0644 /usr/local/share/docker-ram/examples/$example
    done
    make_account
    make_directory /etc/docker-ram
    make_directory /var/lib/docker-ram
    give_to_account /var/lib/docker-ram

    if systemd_runs; then
        act systemctl daemon-reload
        # systemd opens no socket of a service that runs; calls wait in the sockets that are open.
        act systemctl -q stop docker-ramd.service
        # shellcheck disable=SC2086
        act systemctl start $sockets docker-ram-doctor.timer
    fi
    # Only now, so that Docker never finds a plugin or a proxy that is not there.
    make_directory /etc/docker
    enable_engine
    if [ $setup = yes ] && [ -z "$root" ]; then
        name=$(calling_person)
        if [ $dry_run = yes ]; then
            say "would run  \"docker ram setup\" for $name"
        else
            write_down setup "$name"
            run_as "$name" "$plugin" ram setup || warn "\"docker ram setup\" failed for $name"
        fi
    fi

    [ -z "$server" ] || enroll
    step "done"
    [ $dry_run = no ] || return 0
    [ -f "$root/etc/docker-ram/policy.json" ] || [ -f "$root/etc/docker-ram/enrollment.json" ] ||
        say "There is no policy yet, so everything is allowed. Write $root/etc/docker-ram/policy.json;" \
            "an example is $root/usr/local/share/docker-ram/examples/policy.json."
    if [ -n "$root" ]; then
        say "Nothing was started: this is not the machine itself."
    elif systemd_runs; then
        if engine_is_held; then
            say "Docker asks docker-ram, and goes out through it."
        elif [ $restart_docker = no ]; then
            say "Docker asks docker-ram from its next start on. To begin now, without stopping a container:"
            say "    sudo systemctl reload docker"
            say "What builds and logins reach is enforced once Docker was restarted (containers stop, unless"
            say "live-restore is set):"
            say "    sudo systemctl restart docker"
        fi
    else
        say "systemd does not run here. Start the daemon as root before Docker, and start Docker again:"
        say "    $libexec/docker-ramd run &"
        [ ! -f /etc/docker-ram/engine-proxy.env ] ||
            say "dockerd needs the environment that /etc/docker-ram/engine-proxy.env sets."
    fi
    say "Each developer runs once:"
    say "    docker ram setup"
}

# Has this machine follow the organization that was named.
enroll() {
    set -- enroll "$server" --organization "$organization" --fingerprint "$fingerprint"
    [ -z "$certificate_authority" ] || set -- "$@" --certificate-authority "$certificate_authority"
    [ $require_sign_in = no ] || set -- "$@" --require-sign-in
    if [ $dry_run = yes ]; then
        say "would run  \"docker ram $*\""
        return 0
    fi
    step "enrolling this machine with $organization at $server"
    # Before docker-ramd runs, nobody could register this machine; the unit is started by now, where systemd runs.
    if [ -n "$enrollment_token" ]; then
        docker_ram "$@" --enrollment-token-stdin <"$enrollment_token"
    else
        docker_ram "$@"
    fi || fail "this machine is not enrolled, or not registered; everything else is installed" \
        "mend what is said above, then run: docker ram $*"
}

# Has the engine ask the plugin and use the proxy. Where nothing can run yet, nothing is asked whether it answers.
enable_engine() {
    set -- engine enable
    if [ $dry_run = yes ]; then
        set -- "$@" --dry-run
    elif ! systemd_runs; then
        set -- "$@" --no-check
    fi
    [ $restart_docker = no ] || set -- "$@" --restart
    if [ $dry_run = no ]; then
        docker_ram "$@" ||
            fail "the engine was not told to use docker-ram" "correct what is said above, then run this again"
    elif [ -x "$binaries/docker-ram" ]; then
        DOCKER_RAM_ROOT=${root:-/} "$binaries/docker-ram" ram "$@" || warn "the engine would not be told to use docker-ram"
    else
        say "would run  \"docker ram engine enable\""
    fi
    if [ $restart_docker = yes ] && ! systemd_runs; then
        warn "systemd does not run here, so Docker was not restarted: stop dockerd and start it again"
    fi
}

# Whether the running engine was started with everything that it was told.
engine_is_held() {
    held=$(docker_ram engine status --format json 2>/dev/null) || return 1
    case $held in *'"usesProxy": true'*) ;; *) return 1 ;; esac
    case $held in *'"restartPending": false'*) ;; *) return 1 ;; esac
}

# Lets a running engine forget the plugin before the plugin goes; SIGHUP stops no container.
let_engine_read_settings() {
    [ -z "$root" ] || return 0
    if systemd_runs && systemctl -q is-active docker.service; then
        act systemctl reload docker.service || warn "Docker did not reload; run: sudo systemctl restart docker"
    elif [ -f /run/docker.pid ] && [ "$(cat "/proc/$(cat /run/docker.pid)/comm" 2>/dev/null)" = dockerd ]; then
        act kill -HUP "$(cat /run/docker.pid)"
    else
        return 0
    fi
    [ $dry_run = yes ] || sleep 1
}

# Gives the engine its earlier settings back, before what they name goes.
disable_engine() {
    set -- engine disable
    [ $dry_run = no ] || set -- "$@" --dry-run
    [ $restart_docker = no ] || set -- "$@" --restart
    docker_ram "$@" ||
        fail "Docker's settings still name docker-ram, so nothing was removed" "correct what is said above, then run this again"
    [ $dry_run = no ] && [ -z "$root" ] || return 0
    if docker_ram engine status --format json 2>/dev/null | grep -q '"restartPending": true'; then
        warn "Docker still uses the egress proxy, which goes now: it reaches no registry until it is restarted"
        hint "run: sudo systemctl restart docker"
    fi
}

# Everybody whose Docker asks our helper: those written down, and those who ran "docker ram setup" themselves.
people_set_up() {
    {
        if [ -f "$record" ]; then awk -F '\t' '$1 == "setup" { print $2 }' "$record"; fi
        getent passwd | while IFS=: read -r name _ _ _ _ home _; do
            [ -d "$home/.docker" ] || continue
            # shellcheck disable=SC2016
            if run_as "$name" sh -c '[ -f .docker/config.json ] && grep -q "\"ram\"" .docker/config.json' 2>/dev/null; then
                printf '%s\n' "$name"
            fi
        done
    } | sort -u
}

uninstall_for_all() {
    is_root || fail "only root can take back an installation for all users" "run: sudo ./install.sh --uninstall"
    stay_under_root
    undo_directory=$root/var/lib/docker-ram-undo record=$root/var/lib/docker-ram-undo/installed
    [ -f "$record" ] || {
        say "Nothing is installed under ${root:-/}."
        return 0
    }
    step "uninstalling from ${root:-/}"
    if [ -x "$root$plugin" ]; then
        if [ -z "$root" ]; then
            people_set_up | while read -r name; do
                act run_as "$name" "$plugin" ram setup --undo </dev/null ||
                    warn "the Docker settings of $name still name docker-credential-ram"
            done
        fi
        disable_engine
        let_engine_read_settings
    elif grep -q '"docker-ram"' "$root/etc/docker/daemon.json" 2>/dev/null ||
        [ -e "$root$units/docker.service.d/docker-ram-proxy.conf" ]; then
        fail "\"$root$plugin\" is missing, and Docker's settings name docker-ram, so nothing was removed" \
            "run ./install.sh once more, then this again: Docker does not start while a plugin of its list is missing"
    fi
    if systemd_runs; then
        set --
        for unit in $sockets docker-ram-doctor.timer docker-ram-doctor.service; do
            [ ! -e "$units/$unit" ] || set -- "$@" "$unit"
        done
        act systemctl stop "$@" docker-ramd.service || warn "docker-ramd could not be stopped"
    fi
    if [ -d "$root/var/lib/docker-ram" ] && recorded directory /var/lib/docker-ram; then
        act find "$root/var/lib/docker-ram" -mindepth 1 -delete
        did "removed    $root/var/lib/docker-ram with the decision log"
    fi
    if [ $purge = yes ] && [ -d "$root/etc/docker-ram" ]; then
        act find "$root/etc/docker-ram" -mindepth 1 -delete
    fi
    had_account=no
    if recorded account "$account"; then had_account=yes; fi
    take_back_files
    [ $had_account = no ] || remove_account
    # An earlier --uninstall that kept the policy has forgotten who made the directory.
    if [ $purge = yes ] && [ -d "$root/etc/docker-ram" ]; then act rmdir "$root/etc/docker-ram"; fi
    if systemd_runs; then
        act systemctl daemon-reload
        if [ $dry_run = no ]; then
            systemctl -q reset-failed docker-ramd.service docker-ramd-plugin.socket 2>/dev/null || true
            # systemd made it for the control socket.
            rmdir /run/docker-ram 2>/dev/null || true
        fi
    fi
    if [ $dry_run = no ] && [ -d "$root/etc/docker-ram" ] && [ -n "$(ls -A "$root/etc/docker-ram")" ]; then
        say "kept       $root/etc/docker-ram, which an administrator wrote (--purge removes it)"
    fi
    step "done"
}

# ---------------------------------------------------------------------------------------------------------------------
# The server of an organization

server_data=/var/lib/docker-ram-server

server_paths() {
    is_root || fail "only root can do this" "run: sudo ./install.sh --organization-server"
    account=docker-ram-server
    undo_directory=$root/var/lib/docker-ram-server-undo record=$root/var/lib/docker-ram-server-undo/installed
    stay_under_root
}
server_is_made() { [ -e "$root$server_data/server.sqlite" ]; }

install_organization_server() {
    server_paths
    programs=docker-ram-server wanted_programs=docker-ram-server
    have_programs
    # Built programs have it from the package with its headers.
    if [ -n "$prebuilt" ] && [ -z "$root" ] && has dpkg-query; then need_packages libsqlite3-0; fi
    step "installing the organization's server under ${root:-/}"
    if [ $dry_run = yes ] && [ ! -f "$binaries/docker-ram-server" ]; then
        say "would put  $root/usr/local/bin/docker-ram-server"
    else
        put_file "$binaries/docker-ram-server" 0755 /usr/local/bin/docker-ram-server
    fi
    put_file "$metadata/systemd/docker-ram-server.sysusers.conf" 0644 /etc/sysusers.d/docker-ram-server.conf
    # What an administrator has written there stays, also from before an --uninstall.
    if [ ! -e "$root/etc/default/docker-ram-server" ] || recorded file /etc/default/docker-ram-server; then
        put_file "$metadata/systemd/docker-ram-server.default" 0644 /etc/default/docker-ram-server
    else
        say "found      $root/etc/default/docker-ram-server"
    fi
    put_file "$metadata/systemd/docker-ram-server.service" 0644 $units/docker-ram-server.service
    # systemd leaves it alone as long as no organization is made.
    put_link ../docker-ram-server.service $units/multi-user.target.wants/docker-ram-server.service
    make_account
    make_directory $server_data
    give_to_account $server_data
    act chmod 0700 "$root$server_data"
    if systemd_runs; then
        act systemctl daemon-reload
        if server_is_made; then act systemctl restart docker-ram-server.service; fi
    fi
    step "done"
    [ $dry_run = no ] || return 0
    if [ -n "$root" ]; then say "Nothing was started: this is not the machine itself."; fi
    if ! server_is_made; then
        say "Make the first organization and its owner, whose password it asks for:"
        say "    sudo -u $account docker-ram-server init --data $server_data \\"
        say "        --organization NAME --owner NAME --contact ADDRESS --public-url https://HOST"
        say "Say in /etc/default/docker-ram-server where it listens and who does TLS, and start it:"
    elif [ -z "$root" ] && systemd_runs; then
        return 0
    else
        say "Start it:"
    fi
    if [ -n "$root" ] || systemd_runs; then
        say "    sudo systemctl start docker-ram-server"
    else
        say "    sudo -u $account docker-ram-server serve --data $server_data --listen HOST:PORT ..."
    fi
}

uninstall_organization_server() {
    server_paths
    [ -f "$record" ] || {
        say "No server is installed under ${root:-/}."
        return 0
    }
    step "uninstalling the organization's server from ${root:-/}"
    if systemd_runs && [ -e $units/docker-ram-server.service ]; then
        act systemctl stop docker-ram-server.service ||
            fail "docker-ram-server could not be stopped, so nothing was removed"
    fi
    had_account=no
    if recorded account "$account"; then had_account=yes; fi
    directories=$(awk -F '\t' '$1 == "directory" { print $2 }' "$record")
    if [ $purge = yes ]; then
        if [ -d "$root$server_data" ]; then
            act find "$root$server_data" -mindepth 1 -delete
            did "removed    what was in $root$server_data"
        fi
        act rm -f "$root/etc/default/docker-ram-server"
    fi
    take_back_files
    if systemd_runs; then act systemctl daemon-reload; fi
    if [ -n "$(ls -A "$root$server_data" 2>/dev/null)" ] && [ $purge = no ]; then
        # Nobody else gets what belongs to the account; a later --purge takes both.
        for path in $directories; do [ ! -d "$root$path" ] || write_down directory "$path"; done
        [ $had_account = no ] || write_down account "$account"
        say "kept       $root$server_data and the account $account: organizations and their keys (--purge removes both)"
    elif [ $had_account = yes ]; then
        remove_account
    fi
    step "done"
}

# ---------------------------------------------------------------------------------------------------------------------
# For one developer

user_paths() {
    if [ -z "${HOME:-}" ] || [ ! -d "$HOME" ]; then fail "HOME is not set, or no directory"; fi
    ! is_root || [ -O "$HOME" ] || fail "\"$HOME\" belongs to somebody else" "run this as that person, without sudo"
    plugin=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins/docker-ram
    helper=$HOME/.local/bin/docker-credential-ram
    undo_directory=${XDG_DATA_HOME:-$HOME/.local/share}/docker-ram record=$undo_directory/installed
}

install_for_one() {
    user_paths
    wanted_programs='docker-ram docker-credential-ram'
    have_programs
    step "installing for $(id -un)"
    for name in $wanted_programs; do
        if [ "$name" = docker-ram ]; then place=$plugin; else place=$helper; fi
        if [ $dry_run = yes ] && [ ! -f "$binaries/$name" ]; then
            say "would put  $place"
        else
            put_file "$binaries/$name" 0755 "$place"
        fi
    done
    if [ $setup = yes ]; then
        if [ $dry_run = yes ]; then
            say "would run  \"docker ram setup\""
        else
            PATH=$HOME/.local/bin:$PATH "$plugin" ram setup || fail "\"docker ram setup\" failed"
        fi
    fi
    step "done"
    case :$PATH: in
        *:"$HOME/.local/bin":*) ;;
        *) warn "\"$HOME/.local/bin\" is not in PATH, so Docker does not find the credential helper yet" ;;
    esac
    [ $dry_run = yes ] ||
        say "This explains refusals and keeps credentials; only an installation for all users enforces the policy."
}

uninstall_for_one() {
    user_paths
    [ -f "$record" ] || {
        say "Nothing is installed for $(id -un)."
        return 0
    }
    step "uninstalling for $(id -un)"
    if [ -x "$plugin" ]; then
        act env "PATH=$HOME/.local/bin:$PATH" "$plugin" ram setup --undo || fail "your Docker settings still name docker-credential-ram, so nothing was removed"
    elif grep -q '"credsStore": *"ram"' "${DOCKER_CONFIG:-$HOME/.docker}/config.json" 2>/dev/null; then
        fail "\"$plugin\" is missing, and your Docker settings name docker-credential-ram, so nothing was removed" \
            "run ./install.sh --user once more, then this again"
    fi
    take_back_files
    step "done"
}

# ---------------------------------------------------------------------------------------------------------------------
# The demo: a private engine, registry and docker-ramd on loopback, all of it under one temporary directory

demo_work='' demo_pids=''

demo_clean_up() {
    status=$?
    trap - EXIT INT TERM HUP
    for pid in $demo_pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $demo_pids; do
        waited=0
        while kill -0 "$pid" 2>/dev/null && [ $waited -lt 100 ]; do
            sleep 0.1
            waited=$((waited + 1))
        done
        kill -9 "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ -n "$demo_work" ]; then rm -rf "$demo_work"; fi
    if [ "${demo_made_etc_docker:-no}" = yes ]; then rmdir /etc/docker 2>/dev/null || true; fi
    if [ $status -eq 0 ]; then say "Everything the demo started or made is gone again."; fi
    exit $status
}

# Waits until a command succeeds: SECONDS WHAT LOG COMMAND...
demo_wait() {
    tries=$(($1 * 10)) what=$2 log=$3
    shift 3
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries -le 0 ]; then
            tail -n 20 "$log" >&2
            fail "$what did not start"
        fi
        [ $((tries % 20)) -ne 0 ] || say "    waiting for $what"
        sleep 0.1
    done
}

# Shows a command and what it says, and keeps both: EXPECTED-STATUS COMMAND...
demo_run() {
    expected=$1
    shift
    say "\$ $*"
    status=0
    "$@" >"$demo_work/said" 2>&1 </dev/null || status=$?
    sed 's/^/    /' "$demo_work/said"
    [ $status -eq "$expected" ] || fail "this should have ended with $expected, but ended with $status"
}
demo_said() { grep -q -e "$1" "$demo_work/said" || fail "this should have said \"$1\""; }
demo_did_not_say() { ! grep -q -e "$1" "$demo_work/said" || fail "this should not have said \"$1\""; }

demo() {
    is_root || fail "the demo starts a private Docker Engine, which only root can" "run: sudo ./install.sh --demo"
    packages=''
    has dockerd || packages="$packages docker.io"
    has docker-registry || packages="$packages docker-registry"
    has unshare || packages="$packages util-linux"
    has curl || packages="$packages curl"
    if [ -n "$packages" ]; then
        has apt-get || fail "these programs are missing: $packages" "install them, or run the demo on Debian"
        # shellcheck disable=SC2086
        need_packages $packages
    fi
    has docker || fail "the docker command is missing" "install docker.io or docker-ce-cli"
    programs="$programs docker-ram-server"
    wanted_programs=$programs
    have_programs

    trap demo_clean_up EXIT
    trap 'exit 130' INT TERM HUP
    demo_work=$(mktemp -d /tmp/docker-ram-demo.XXXXXX)
    chmod 0755 "$demo_work"
    mkdir -p "$demo_work/etc/docker-ram" "$demo_work/etc/docker" "$demo_work/run/docker/plugins" \
        "$demo_work/config/cli-plugins" "$demo_work/image" "$demo_work/programs"
    cp "$binaries/docker-ram" "$demo_work/config/cli-plugins/"
    cp "$binaries/docker-credential-ram" "$demo_work/programs/"
    PATH=$demo_work/programs:$PATH
    unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION DOCKER_DEFAULT_PLATFORM \
        HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy
    export DOCKER_HOST="unix://$demo_work/run/docker.sock" DOCKER_CONFIG="$demo_work/config" DOCKER_BUILDKIT=0 \
        DOCKER_RAM_ROOT="$demo_work"

    step "starting a private registry"
    port=5100
    while :; do
        cat >"$demo_work/registry.yml" <<EOF
version: 0.1
log: { accesslog: { disabled: true }, level: warn }
storage: { filesystem: { rootdirectory: $demo_work/registry } }
http: { addr: "127.0.0.1:$port" }
EOF
        docker-registry serve "$demo_work/registry.yml" >"$demo_work/registry.log" 2>&1 &
        pid=$!
        sleep 0.5
        if kill -0 $pid 2>/dev/null; then break; fi
        port=$((port + 1))
        [ $port -lt 5200 ] || fail "the private registry did not start" "$(tail -n 1 "$demo_work/registry.log")"
    done
    demo_pids=$pid
    allowed=127.0.0.1:$port/acme/hello:1
    refused=ghcr.io/acme/hello:1

    step "starting docker-ramd with a policy that allows 127.0.0.1:$port and nothing else"
    cat >"$demo_work/etc/docker-ram/policy.json" <<EOF
{
  "version": 1,
  "organization": "acme",
  "enabled": true,
  "mode": "enforce",
  "contact": "platform@acme.test",
  "registries": [
    { "address": "127.0.0.1:$port", "nickname": "The demo's registry", "allowed": true }
  ]
}
EOF
    # On any free port: this machine's own egress proxy may have the usual one.
    printf '{ "egressProxy": { "listen": "127.0.0.1:0" } }\n' >"$demo_work/etc/docker-ram/daemon.json"
    "$binaries/docker-ramd" run --root "$demo_work" >"$demo_work/docker-ramd.log" 2>&1 &
    demo_pids="$! $demo_pids"
    demo_wait 10 docker-ramd "$demo_work/docker-ramd.log" test -S "$demo_work/run/docker/plugins/docker-ram.sock"

    step "telling a private Docker Engine to ask docker-ramd and to go out through it"
    version=$(dockerd --version | sed 's/^Docker version \([^ ,]*\).*/\1/')
    demo_run 0 docker ram engine enable --engine-version "$version"
    environment=$demo_work/etc/docker-ram/engine-proxy.env

    step "starting that engine, $version"
    # Docker looks for plugins in /run/docker/plugins and nowhere else, so this engine gets a /run of its own.
    demo_made_etc_docker=no
    if [ ! -d /etc/docker ]; then
        mkdir /etc/docker
        demo_made_etc_docker=yes
    fi
    # shellcheck disable=SC2016
    unshare --mount --propagation private sh -c '
        set -eu
        mount --bind "$1/etc/docker" /etc/docker
        mount -t tmpfs -o mode=0755 tmpfs /run
        mkdir -p /run/docker/plugins
        mount --bind "$1/run/docker/plugins" /run/docker/plugins
        if [ -f "$2" ]; then
            set -a
            . "$2"
        fi
        exec dockerd --config-file /etc/docker/daemon.json --host "unix://$1/run/docker.sock" \
            --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/run/docker.pid" \
            --bridge=none --iptables=false --ip6tables=false --userland-proxy=false
    ' sh "$demo_work" "$environment" >"$demo_work/dockerd.log" 2>&1 &
    demo_pids="$! $demo_pids"
    demo_wait 60 "the engine" "$demo_work/dockerd.log" docker version

    step "making a tiny image and pushing it to the allowed registry"
    echo "Hello from an allowed registry." >"$demo_work/image/hello"
    printf 'FROM scratch\nCOPY hello /hello\n' >"$demo_work/image/Dockerfile"
    demo_run 0 docker build --quiet --tag "$allowed" "$demo_work/image"
    demo_run 0 docker push --quiet "$allowed"
    demo_run 0 docker image rm "$allowed"

    step "pulling from the allowed registry"
    demo_run 0 docker pull "$allowed"
    demo_said "Downloaded newer image for $allowed"
    demo_run 0 docker image inspect --format 'here: {{index .RepoTags 0}}' "$allowed"
    demo_said "here: $allowed"

    step "pulling from a registry that the organization does not allow"
    demo_run 1 docker pull "$refused"
    demo_said 'Your organization has disallowed this registry: ghcr\.io (acme, policy 1, [0-9a-f]\{6\})\. Ask platform@acme\.test for access\.'
    demo_did_not_say 'Downloaded'

    step "building from that registry with BuildKit, which does not ask the authorization plugin"
    mkdir "$demo_work/refused"
    printf 'FROM %s\n' "$refused" >"$demo_work/refused/Dockerfile"
    # The docker command from 23.0 on builds with buildx; Debian's 20.10 brings BuildKit's client itself.
    builder=docker
    case $(/usr/bin/docker --version 2>/dev/null) in 'Docker version 20.'*) builder=/usr/bin/docker ;; esac
    case $($builder --version) in
        'Docker version 20.'*) can_build=yes ;;
        *) if $builder buildx version >/dev/null 2>&1; then can_build=yes; else can_build=no; fi ;;
    esac
    if [ $can_build = yes ]; then
        demo_run 1 env DOCKER_BUILDKIT=1 $builder build --progress plain "$demo_work/refused"
        demo_said 'Your organization has disallowed this registry: ghcr\.io (acme, policy 1, [0-9a-f]\{6\})\. Ask platform@acme\.test for access\.'
    else
        say "    skipped: this docker command has no buildx"
    fi

    step "having Docker ask the credential helper, and asking it for credentials of that registry"
    demo_run 0 docker ram setup
    demo_run 1 sh -c 'echo ghcr.io | docker-credential-ram get'
    demo_said 'Your organization has disallowed this registry: ghcr\.io (acme, policy 1, [0-9a-f]\{6\})'

    step "asking docker-ram"
    demo_run 0 docker ram status
    demo_said acme
    demo_said 'egress proxy  *active: engine .* uses 127\.0\.0\.1:'
    demo_run 0 docker ram engine status
    demo_said 'proxy port .* answers$'
    demo_said "running engine .*$version uses 127\.0\.0\.1:[0-9]*\$"
    demo_run 0 docker ram check "$allowed"
    demo_run 3 docker ram check "$refused"
    demo_said ghcr.io

    demo_organization

    step "the demo did what it should: one pull allowed, one pull and one build refused, and an organization's server"
    say "    that changed what is allowed, and made everybody sign in again, within seconds"
    [ $keep = no ] || demo_keep
}

# Leaves everything running until it is ended, or something of it ends by itself.
demo_keep() {
    cat >"$demo_work/environment" <<EOF
# Makes docker and docker ram speak to the engine of the demo.
export DOCKER_HOST='$DOCKER_HOST' DOCKER_CONFIG='$DOCKER_CONFIG' DOCKER_BUILDKIT=0
export DOCKER_RAM_ROOT='$DOCKER_RAM_ROOT' PATH='$demo_work/programs':"\$PATH"
unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION DOCKER_DEFAULT_PLATFORM
EOF
    trap 'exit 0' INT TERM HUP
    step "the demo is left running"
    cat <<EOF
    Dashboard     $server_url
    Organization  acme
    Owner         alice, whose password is: $password
    Member        mia, whose password is: $member_password
    Engine        as root, in another terminal: . $demo_work/environment
                  docker ram status
                  docker pull $allowed
                  docker pull $refused
    To end it     Ctrl-C here, or: kill $$
EOF
    while :; do
        for pid in $demo_pids; do
            kill -0 "$pid" 2>/dev/null || fail "a part of the demo ended by itself"
        done
        sleep 0.5
    done
}

# Somebody who may look at the policy, and change nothing.
demo_member() {
    member_password='a member of this demo'
    invitation=$(curl -fsS -H "Authorization: Bearer $access_token" -H 'Content-Type: application/json' \
        -d '{"role":"member"}' $server_url/v1/organizations/acme/invitations |
        sed -n 's/.*"invitation": *"\([^"]*\)".*/\1/p')
    curl -fsS -o /dev/null -H 'Content-Type: application/json' \
        -d "{\"invitation\":\"$invitation\",\"name\":\"mia\",\"password\":\"$member_password\"}" \
        $server_url/v1/invitations/accept || fail "the demo's member could not be made"
}

# Waits until docker-ramd has something in force, and says how long that took: PATTERN
demo_in_force() {
    began=$(date +%s%3N)
    demo_wait 30 "docker-ramd with $1" "$demo_work/docker-ramd.log" sh -c 'docker ram status --format json | grep -q -e "$0"' "$1"
    took=$(($(date +%s%3N) - began))
    say "    in force after $((took / 1000)).$((took % 1000 / 100)) s"
}

demo_organization() {
    step "making the organization a server of its own, with alice as its owner"
    password='only for this demo'
    server_port=7270
    while :; do
        rm -rf "$demo_work/server" "$demo_work/acme-root.key"
        server_url=http://127.0.0.1:$server_port
        printf '%s\n' "$password" | "$binaries/docker-ram-server" init --data "$demo_work/server" --organization acme \
            --owner alice --contact platform@acme.test --public-url $server_url --root-key "$demo_work/acme-root.key" \
            --password-stdin >"$demo_work/init"
        "$binaries/docker-ram-server" serve --data "$demo_work/server" --listen 127.0.0.1:$server_port \
            >"$demo_work/server.log" 2>&1 &
        pid=$!
        tries=0
        # Its log says so, for at the port there may be another.
        while kill -0 $pid 2>/dev/null && ! grep -q ' listening$' "$demo_work/server.log" && [ $tries -lt 100 ]; do
            sleep 0.1
            tries=$((tries + 1))
        done
        if kill -0 $pid 2>/dev/null; then break; fi
        server_port=$((server_port + 1))
        [ $server_port -lt 7290 ] || fail "the server did not start" "$(tail -n 1 "$demo_work/server.log")"
    done
    demo_pids="$pid $demo_pids"
    sed 's/^/    /' "$demo_work/init"
    fingerprint=$(sed -n 's/.*\(sha256:[0-9a-f]\{64\}\).*/\1/p' "$demo_work/init")

    step "allowing the demo's registry on the server"
    DOCKER_RAM_SERVER=$server_url DOCKER_RAM_ORGANIZATION=acme
    # With a keyring: docker ram admin login.
    access_token=$(curl -fsS --data-urlencode "password=$password" \
        -d 'grant_type=password&username=alice&organization=acme' $server_url/v1/token |
        sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p')
    DOCKER_RAM_TOKEN=$(curl -fsS -H "Authorization: Bearer $access_token" -H 'Content-Type: application/json' \
        -d '{"name":"demo","scopes":["policy:read","policy:write","sessions:write"],"days":1}' \
        $server_url/v1/organizations/acme/tokens | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
    export DOCKER_RAM_SERVER DOCKER_RAM_ORGANIZATION DOCKER_RAM_TOKEN
    [ $keep = no ] || demo_member
    demo_run 0 docker ram admin registry add "127.0.0.1:$port" --nickname "The demo's registry"

    step "enrolling this machine, whose people have to sign in from now on"
    demo_run 0 docker ram enroll $server_url --organization acme --fingerprint "$fingerprint" --require-sign-in
    demo_in_force '"sign-in-required"'
    demo_run 1 docker pull "$allowed"
    demo_said 'docker ram login'

    step "signing in"
    printf '%s\n' "$password" >"$demo_work/password"
    demo_run 0 sh -c "docker ram login --username alice --password-stdin <'$demo_work/password'"
    demo_in_force '"policyVersion": *2'
    demo_run 0 docker pull "$allowed"

    step "taking the registry out of the policy, on the server"
    demo_run 0 docker ram admin registry remove "127.0.0.1:$port"
    demo_in_force '"policyVersion": *3'
    demo_run 1 docker pull "$allowed"
    demo_said "Your organization has disallowed this registry: 127\.0\.0\.1:$port (acme, policy 3, [0-9a-f]\{6\})"
    demo_run 0 docker ram admin policy rollback 2
    demo_in_force '"policyVersion": *4'
    demo_run 0 docker pull "$allowed"

    step "making everybody sign in again"
    demo_run 0 docker ram admin session end --all --yes
    demo_in_force '"sign-in-required"'
    demo_run 1 docker pull "$allowed"
    demo_said 'docker ram login'
    demo_run 0 docker ps
    demo_run 0 sh -c "docker ram login --username alice --password-stdin <'$demo_work/password'"
    demo_in_force '"policyVersion": *4'
    demo_run 0 docker pull "$allowed"
    demo_run 0 docker ram status
}

# ---------------------------------------------------------------------------------------------------------------------

case $mode-$uninstall in
    system-no) install_for_all ;;
    system-yes) uninstall_for_all ;;
    organization-no) install_organization_server ;;
    organization-yes) uninstall_organization_server ;;
    user-no) install_for_one ;;
    user-yes) uninstall_for_one ;;
    demo-*) demo ;;
esac
