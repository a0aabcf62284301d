SUMMARY = "Detectors for Synoptic: the models that configs/models names"
PV = "${@synoptic.version(d)}"
# Of each model: its manifest says which.
LICENSE = "${@' & '.join(sorted({m[1] for m in synoptic.models(d)}))}"

inherit allarch

python () {
    uris = []
    for name, licence, uri, sha256 in synoptic.models(d):
        # Named as the daemon looks for it: MODEL.onnx (synoptic models list).
        uris.append(f"{uri};name={name};downloadfilename={name}-{sha256[:12]}.onnx")
        d.setVarFlag("SRC_URI", f"{name}.sha256sum", sha256)
    d.setVar("SRC_URI", " ".join(uris))
    # The texts that OE-core keeps: upstream's repositories are not unpacked here.
    texts = [os.path.join(d.getVar("COMMON_LICENSE_DIR"), m[1]) for m in synoptic.models(d)]
    d.setVar("LIC_FILES_CHKSUM", " ".join(sorted({f"file://{t};md5={bb.utils.md5_file(t)}" for t in texts})))
}
S = "${UNPACKDIR}"

do_install() {
    install -d ${D}${datadir}/synoptic/models
    for file in ${UNPACKDIR}/*.onnx; do
        name=$(basename "$file" .onnx)
        install -m 644 "$file" "${D}${datadir}/synoptic/models/${name%-*}.onnx"
    done
}
FILES:${PN} = "${datadir}/synoptic/models"
