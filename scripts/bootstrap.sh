#!/bin/sh
# Makes a virtual environment in which the demo and the tests run, and everything below it.
#
#   scripts/bootstrap.sh VENV
#
#   PYTHON   the interpreter to use; by default the newest from 3.11 on
#   DJANGO   a Django version such as 5.2, or a constraint such as '>=5.2,<6'
#
# It changes nothing that is as it should be, so that running it again takes no time. Root on
# a Debian system gets missing packages installed; anybody else gets the line to type.
set -eu

VENV=${1:?usage: scripts/bootstrap.sh VENV}
PYTHON=${PYTHON:-}
DJANGO=${DJANGO:-}
EXTRAS='test,lint'
NEWEST_FIRST='python3.14 python3.13 python3.12 python3.11 python3 python'

say() { printf '%s\n' "$*" >&2; }
die() { say "bootstrap: $*"; exit 1; }

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Prints the version of the environment's Python, where there is one that can install.
environment_version() {
    "$VENV/bin/python" -c 'import sys, pip; print(sys.version)' 2>/dev/null || :
}

# Prints the interpreter to use: the one asked for, else the one of the environment that is
# there, else the newest. Shims of pyenv are found by `command -v` yet may not run.
find_python() {
    if [ -n "$PYTHON" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 || die "PYTHON=$PYTHON: there is no such program"
        is_new_enough "$PYTHON" || die "PYTHON=$PYTHON does not run or is older than Python 3.11"
        NEWEST_FIRST=$PYTHON
    elif [ -n "$(environment_version)" ] && is_new_enough "$VENV/bin/python"; then
        NEWEST_FIRST=$VENV/bin/python
    fi
    for candidate in $NEWEST_FIRST; do
        if is_new_enough "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die 'Python 3.11 or newer is needed; name it with PYTHON=/path/to/python3'
}

# Prints the shared libraries that cannot be loaded: the ODBC driver manager, and what
# Microsoft's driver needs beyond the C library. Loading them works on every system,
# whatever installed them.
missing_libraries() {
    "$1" - <<'PYTHON'
import ctypes
import sys

if sys.platform == "darwin":
    places = ["", "/opt/homebrew/lib/", "/usr/local/lib/", "/opt/local/lib/"]
    wanted = {"unixodbc": [place + "libodbc.2.dylib" for place in places]}
else:
    wanted = {
        "unixodbc": ["libodbc.so.2"],
        "gssapi": ["libgssapi_krb5.so.2"],
        "openssl": ["libssl.so.3", "libssl.so.1.1"],
    }


def loads(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


print(*(library for library, names in wanted.items() if not any(map(loads, names))))
PYTHON
}

# Whether `python -m venv` would work: Debian ships the interpreter without ensurepip.
can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# Prints the packages of this system's package manager for the names given.
packages_for() {
    manager=$1
    shift
    for name in "$@"; do
        case $manager:$name in
            apt:unixodbc) echo unixodbc ;;
            apt:gssapi) echo libgssapi-krb5-2 ;;
            # Brings libssl under whatever name the release gives it.
            apt:openssl) echo ca-certificates openssl ;;
            apt:venv) echo "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv" ;;
            dnf:unixodbc | zypper:unixodbc) echo unixODBC ;;
            dnf:gssapi) echo krb5-libs ;;
            dnf:openssl) echo openssl-libs ;;
            zypper:gssapi | pacman:gssapi) echo krb5 ;;
            apk:gssapi) echo krb5-libs ;;
            brew:openssl) echo openssl@3 ;;
            dnf:venv | zypper:venv | pacman:venv | apk:venv | brew:venv) ;;
            *) echo "$name" ;;
        esac
    done
}

package_manager() {
    if [ "$(uname -s)" = Darwin ]; then
        echo brew
        return
    fi
    for manager in apt-get dnf zypper pacman apk; do
        if command -v "$manager" >/dev/null 2>&1; then
            echo "${manager%-get}"
            return
        fi
    done
    echo none
}

# Installs what is missing, or says how and stops.
provide() {
    manager=$(package_manager)
    packages=$(packages_for "$manager" "$@" | tr '\n' ' ')
    packages=${packages% }
    if [ -z "$packages" ]; then
        die "$python cannot make virtual environments (it lacks ensurepip);" \
            'name another with PYTHON=/path/to/python3'
    fi
    if [ "$manager" = apt ] && [ "$(id -u)" -eq 0 ]; then
        say "bootstrap: installing $packages"
        # shellcheck disable=SC2086 # one word per package
        { apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
                $packages; } >&2 || die "apt-get could not install $packages, see above"
        return
    fi
    case $(id -u):$manager in
        0:* | *:brew) as_root= ;;
        *) as_root='sudo ' ;;
    esac
    case $manager in
        apt) line="${as_root}apt-get update && ${as_root}apt-get install -y $packages" ;;
        pacman) line="${as_root}pacman -S $packages" ;;
        apk) line="${as_root}apk add $packages" ;;
        none) die "this system lacks: $*. Install the libraries of unixODBC, Kerberos (GSSAPI)" \
            'and OpenSSL, then try again.' ;;
        *) line="${as_root}$manager install $packages" ;;
    esac
    say 'bootstrap: this system lacks a few packages. Run this line, then try again:'
    say "    $line"
    exit 1
}

# The Django requirement for pip: 5.2 means any 5.2.x.
django_requirement() {
    case $DJANGO in
        '') ;;
        *[!0-9.]*) echo "Django$DJANGO" ;;
        *) echo "Django==$DJANGO.*" ;;
    esac
}

missing_from_system() {
    libraries=$(missing_libraries "$python") || die "$python has no working ctypes module"
    # An environment that is there needs nothing to make one.
    if [ "$(environment_version)" != "$wanted_version" ] && ! can_make_environments "$python"; then
        libraries="$libraries venv"
    fi
    echo "$libraries" | xargs
}

python=$(find_python)
wanted_version=$("$python" -c 'import sys; print(sys.version)')
missing=$(missing_from_system)
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # one word per library
    provide $missing
    missing=$(missing_from_system)
    [ -z "$missing" ] || die "still missing after the installation: $missing"
fi

stamp="$VENV/.bootstrapped"
state="$wanted_version
Django $DJANGO
extras $EXTRAS
in $(pwd)
pyproject $(cksum <pyproject.toml)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ]; then
    exit 0
fi

if [ "$(environment_version)" != "$wanted_version" ]; then
    say "bootstrap: making $VENV with $python"
    "$python" -m venv --clear "$VENV"
fi
say "bootstrap: installing into $VENV${DJANGO:+ with Django $DJANGO}"
rm -f "$stamp"
# shellcheck disable=SC2046 # no word where no Django was asked for
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
    --editable ".[$EXTRAS]" $(django_requirement)
printf '%s\n' "$state" >"$stamp"
