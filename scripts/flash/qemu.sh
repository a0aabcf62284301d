# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# Boots what was written to a file, emulated (never KVM: a trial must be the same everywhere).

# The first of some files that is there.
first_of() {
    local file
    for file in "$@"; do
        [[ ! -r $file ]] || { echo "$file" && return; }
    done
    return 1
}

boot_in_qemu() {
    local program package machine code vars
    begin qemu "Booting it in QEMU"
    need mdir mtools
    printf 'mtools_skip_check=1\ndrive q: file="%s" offset=%s nolock\n' "$target" "$esp_offset" >"$work/mtoolsrc"
    # The name of the loader says the machine (UEFI specification 2.10, section 3.5.1.1).
    if MTOOLSRC=$work/mtoolsrc mdir -b q:/EFI/BOOT/BOOTX64.EFI >/dev/null 2>&1; then
        program=qemu-system-x86_64 package=qemu-system-x86 machine=(-machine q35 -cpu max)
        code=$(first_of /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd /usr/share/edk2/x64/OVMF_CODE.4m.fd \
            /opt/homebrew/share/qemu/edk2-x86_64-code.fd /usr/local/share/qemu/edk2-x86_64-code.fd) || code=
        vars=$(first_of /usr/share/OVMF/OVMF_VARS_4M.fd /usr/share/OVMF/OVMF_VARS.fd /usr/share/edk2/x64/OVMF_VARS.4m.fd \
            /opt/homebrew/share/qemu/edk2-i386-vars.fd /usr/local/share/qemu/edk2-i386-vars.fd) || vars=
    elif MTOOLSRC=$work/mtoolsrc mdir -b q:/EFI/BOOT/BOOTAA64.EFI >/dev/null 2>&1; then
        program=qemu-system-aarch64 package=qemu-system-arm machine=(-machine virt -cpu max)
        code=$(first_of /usr/share/AAVMF/AAVMF_CODE.fd /opt/homebrew/share/qemu/edk2-aarch64-code.fd) || code=
        vars=$(first_of /usr/share/AAVMF/AAVMF_VARS.fd /opt/homebrew/share/qemu/edk2-arm-vars.fd) || vars=
    else
        refuse "$E_QEMU" no_loader "the image has no EFI/BOOT/BOOTX64.EFI or BOOTAA64.EFI: it cannot be booted in QEMU"
    fi
    need "$program" "$package"
    [[ -n $code && -n $vars ]] || refuse "$E_TOOL" missing_tool "UEFI firmware for QEMU is missing: sudo apt install ovmf (qemu-efi-aarch64 for ARM)"
    cp "$vars" "$work/vars.fd" && chmod 600 "$work/vars.fd"
    say "  its page: https://127.0.0.1:${FLASH_QEMU_PORT:-8443} · Ctrl-A X ends it"
    event qemu page "https://127.0.0.1:${FLASH_QEMU_PORT:-8443}"
    "$program" -accel tcg "${machine[@]}" -smp 2 -m 2048 -nographic -no-reboot \
        -drive "if=pflash,format=raw,unit=0,readonly=on,file=$code" -drive "if=pflash,format=raw,unit=1,file=$work/vars.fd" \
        -drive "if=virtio,format=raw,file=$target" \
        -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:${FLASH_QEMU_PORT:-8443}-:8443" \
        >&"$qemu_output" || refuse "$E_QEMU" qemu "$program ended with an error"
}
