# shellcheck shell=bash
# Secrets are made here, one file each, readable by their owner only; they are handed on by files or the environment,
# never as an argument (a process list shows those) and never in a log.

# secret NAME: prints it, makes it at first use. 192 bits from the kernel, in an alphabet that no file format quotes.
secret() {
    local file=$DIR/secrets/$1
    if [[ ! -s $file ]]; then
        mkdir -p "${file%/*}"
        head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' >"$file.new"
        mv "$file.new" "$file"
    fi
    cat "$file"
}
