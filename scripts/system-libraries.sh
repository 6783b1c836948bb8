#!/bin/sh
# See to the system packages that Qt, OpenGL and tests need: install them where apt is at hand as root,
# otherwise print the line to type. Usage: system-libraries.sh window|tests
set -eu
[ "$(uname)" = Linux ] || exit 0

libraries="libEGL.so.1:libegl1 libGL.so.1:libgl1 libxkbcommon-x11.so.0:libxkbcommon-x11-0
libdbus-1.so.3:libdbus-1-3 libxcb-cursor.so.0:libxcb-cursor0 libxcb-icccm.so.4:libxcb-icccm4
libxcb-keysyms.so.1:libxcb-keysyms1 libxcb-shape.so.0:libxcb-shape0 libxcb-xinerama.so.0:libxcb-xinerama0
libxcb-image.so.0:libxcb-image0 libxcb-render-util.so.0:libxcb-render-util0
libxcb-randr.so.0:libxcb-randr0 libxcb-xkb.so.1:libxcb-xkb1 libfontconfig.so.1:libfontconfig1"

known=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
missing=""
for pair in $libraries; do
    case "$known" in
        *"${pair%%:*}"*) ;;
        *) missing="$missing ${pair##*:}" ;;
    esac
done
if [ -z "$(find /usr/lib* -name 'swrast_dri.so' -print 2>/dev/null | head -n 1)" ]; then
    missing="$missing libgl1-mesa-dri"
fi
if [ "$1" = tests ] && ! command -v xvfb-run >/dev/null 2>&1; then
    missing="$missing xvfb xauth"
fi
# a test looks at the report in a real browser
if [ "$1" = tests ] && ! command -v chromium >/dev/null 2>&1 && ! command -v google-chrome >/dev/null 2>&1; then
    missing="$missing chromium"
fi
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "Installing what is missing on this system:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086  # one word per package
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
elif command -v apt-get >/dev/null 2>&1; then
    echo "System packages are missing. Type:"
    echo "    sudo apt-get install$missing"
    exit 1
else
    echo "System packages are missing here; Debian calls them:$missing"
    exit 1
fi
