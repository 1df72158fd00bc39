#!/bin/sh
# Runs a program of .NET as the image of src/container does: another root, which is not written, a user who is not root, no capabilities and no way to get any.
#   readonly.sh DOTNET APP USER PROGRAM ARGUMENTS...
# DOTNET: the folder of dotnet. APP: a folder that becomes /app. The network stays this machine's.
set -eu
dotnet=$1 app=$2 user=$3
shift 3
root=$(mktemp -d)
trap 'rmdir "$root" 2>/dev/null || true' EXIT INT TERM
export root dotnet app user
unshare --mount --propagation private sh -eu -c '
    mount -t tmpfs -o size=1m,mode=755 none "$root"
    for folder in usr proc dev app dotnet; do mkdir "$root/$folder"; done
    for link in lib lib64 bin; do [ ! -e "/$link" ] || ln -s "usr/$link" "$root/$link"; done
    for pair in "/usr $root/usr" "$dotnet $root/dotnet" "$app $root/app" "/proc $root/proc" "/dev $root/dev"; do
        from=${pair%% *} to=${pair#* }
        mount --rbind "$from" "$to"
    done
    for folder in usr dotnet app; do mount -o remount,bind,ro "$root/$folder"; done
    mount -o remount,ro "$root"
    exec chroot "$root" /usr/bin/env -i PATH=/dotnet:/usr/bin XDG_DATA_HOME=/app/data DOTNET_EnableDiagnostics=0 DOTNET_ROOT=/dotnet \
        setpriv --reuid="${user%:*}" --regid="${user#*:}" --clear-groups --no-new-privs --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"
' sh "$@"
