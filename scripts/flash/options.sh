# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# The command line of flash.sh.

image=
target=
site=
allow_fixed=
yes=
dry_run=
mode=flash
log_file=
writer=auto
file_size=
trust=()
jetson_arguments=()

print_help() {
    cat <<'END'
Puts a Synoptic image on a disk, safely. It needs no network.

    ./flash.sh --list                        which disks there are, and which may be written
    ./flash.sh IMAGE DEVICE                  an image on an SSD, an SD card or a stick
    ./flash.sh IMAGE DEVICE --site my.toml   the same, with this site's name, network, keys and passwords
    ./flash.sh IMAGE disk.img                into a file, for a virtual machine
    ./flash.sh --qemu IMAGE                  try it first: boots it in QEMU, nothing of yours is touched
    ./flash.sh --jetson ARCHIVE              a Jetson on a USB cable, in recovery mode

IMAGE is a disk image (.img, .wic, .raw; .zst, .xz, .gz are unpacked on the way), or the release folder with one in it.
SHA256SUMS and SHA256SUMS.sig lie beside it: without a good signature nothing is written.
DEVICE is a whole disk, such as /dev/sdb (macOS: /dev/disk4).

  --site FILE         the site's settings (docs/reference/site.md), put on the image's ESP for the first boot
  --trust FILE        a public key or certificate (PEM) whose signatures are good; beside those in scripts/flash/keys
  --allow-fixed SERIAL  lets a built-in disk be written: the one of this serial number, no other
  --yes               does not ask; for scripts
  --dry-run           every check, and what would be done; writes nothing
  --writer NAME       bmap (only the blocks that hold something, much faster) or dd; as a rule bmap where a block map is
  --size SIZE         makes a target file this large, such as 16G
  --json              one event a line on standard output, for programs
  --log FILE          as a rule a new file in ~/.local/state/synoptic
  --help, --version

What it does, in this order: checks the signature and the sums, the site file, the disk; asks; writes; reads back and
compares; puts the site's settings on it, and reads those back. It stops at the first thing that is not right.

It ends with
   0  done                                  7  the site file has mistakes
   1  a defect of flash.sh itself           8  not confirmed
   2  the command line is wrong             9  writing failed
   3  a tool is missing                    10  what was written reads back differently
   4  the disk is refused                  11  the site's settings could not be put on it
   5  signature or sum is wrong            12  Jetson: prerequisites, recovery mode, or its flashing
   6  the image does not fit               13  QEMU failed
END
}

usage() { refuse "$E_USAGE" usage "$1 (./flash.sh --help)"; }

# value NAME COUNT: an option's value must follow.
value() { (($2 > 1)) || usage "$1 needs a value"; }

read_options() {
    local words=()
    # First, so that mistakes of the command line are events too.
    local word
    for word in "$@"; do
        [[ $word != --json ]] || json=1
    done
    exec 3>&1
    while (($#)); do
        case $1 in
        --help | -h) print_help && exit 0 ;;
        --version) echo "flash.sh $version" && exit 0 ;;
        --list) mode=list ;;
        --qemu) mode=qemu ;;
        --jetson) mode=jetson ;;
        --json) ;;
        --yes | -y) yes=1 ;;
        --dry-run | -n) dry_run=1 ;;
        --site | --trust | --allow-fixed | --log | --writer | --size)
            value "$1" $#
            case $1 in
            --site) site=$2 ;;
            --trust) trust+=("$2") ;;
            --allow-fixed) allow_fixed=$2 ;;
            --log) log_file=$2 ;;
            --writer) writer=$2 ;;
            --size) file_size=$2 ;;
            esac
            shift
            ;;
        --)
            shift
            if [[ $mode == jetson && ${#words[@]} -gt 0 ]]; then jetson_arguments=("$@"); else words+=("$@"); fi
            break
            ;;
        -*) usage "there is no option $1" ;;
        *) words+=("$1") ;;
        esac
        shift
    done
    case $writer in auto | bmap | dd) ;; *) usage "--writer is bmap or dd" ;; esac
    [[ -z $file_size || $file_size =~ ^[0-9]+[KMGT]?$ ]] || usage "--size is a number and K, M, G or T"
    local count=${#words[@]} wanted=2
    case $mode in
    list) wanted=0 ;;
    jetson) wanted=1 ;;
    qemu) if ((count == 2)); then wanted=2; else wanted=1; fi ;;
    esac
    ((count == wanted)) || usage "this takes $wanted of IMAGE and DEVICE, not $count"
    ((count == 0)) || image=${words[0]}
    ((count < 2)) || target=${words[1]}
}
