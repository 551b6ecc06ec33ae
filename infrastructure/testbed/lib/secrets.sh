# shellcheck shell=bash
# Secrets are generated here, one file each, readable only by their owner; they are passed in files or the environment,
# never as an argument (a process list shows those) and never in a log.

# secret NAME: prints it; generates it at first use. 192 bits from the kernel, in an alphabet that needs no quoting
# anywhere.
secret() {
    local file=$DIR/secrets/$1
    if [[ ! -s $file ]]; then
        mkdir -p "${file%/*}"
        head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$file.new"
        mv "$file.new" "$file"
    fi
    cat "$file"
}
