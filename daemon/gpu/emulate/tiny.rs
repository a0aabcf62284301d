//! A model that the stand-in for TensorRT (`nvinfer.cpp`, `-DDETECTOR`) computes too: written here byte by byte, so that no
//! file of weights is needed. Included by path in the tests that want it.

use std::path::Path;

use sha2::{Digest, Sha256};

/// Its name.
pub(crate) const MODEL: &str = "tiny";

/// Writes `tiny.onnx` and `tiny.toml` into `folder`.
pub(crate) fn write(folder: &Path) {
    let onnx = onnx();
    let hash: String = Sha256::digest(&onnx).iter().map(|b| format!("{b:02x}")).collect();
    let manifest = format!(
        "name = \"{MODEL}\"\ndescription = \"bright squares\"\nlicence = \"MIT\"\nsha256 = \"{hash}\"\nbytes = {}\n\
         decoder = \"fastestdet\"\nlabels = [\"square\"]\nthreshold = 0.7\nnms_iou = 0.45\n\n[upstream]\nrepo = \"a/b\"\n\
         commit = \"{}\"\npath = \"tiny.onnx\"\n\n[input]\nwidth = 64\nheight = 64\norder = \"bgr\"\nlayout = \"nchw\"\n\
         resize = \"stretch\"\nscale = 0.00392156862745098\n",
        onnx.len(),
        "0".repeat(40)
    );
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tiny.onnx"), onnx).unwrap();
    std::fs::write(folder.join("tiny.toml"), manifest).unwrap();
}

/// The mean of each 16 x 16 pixels, then a convolution of 1 x 1: numbers of fields are those of onnx.proto.
fn onnx() -> Vec<u8> {
    let pool = node(
        "AveragePool",
        &["images"],
        "mean",
        &[
            ints("kernel_shape", &[16, 16]),
            ints("strides", &[16, 16]),
            ints("pads", &[0; 4]),
        ],
    );
    let plain = [
        ints("kernel_shape", &[1, 1]),
        ints("strides", &[1, 1]),
        ints("pads", &[0; 4]),
    ];
    let conv = node("Conv", &["mean", "weight", "bias"], "output", &plain);
    let mut weight = vec![0.0; 6 * 3];
    weight[..3].fill(1.0 / 3.0);
    let graph = [
        bytes(1, &pool),
        bytes(1, &conv),
        bytes(2, b"tiny"),
        bytes(5, &tensor("weight", &[6, 3, 1, 1], &weight)),
        bytes(5, &tensor("bias", &[6], &[0.0, 0.0, 0.0, -1.1, -1.1, 1.0])),
        bytes(11, &value("images", &[1, 3, 64, 64])),
        bytes(12, &value("output", &[1, 6, 4, 4])),
    ];
    let opset = varint(2, 13);
    [varint(1, 7), bytes(7, &graph.concat()), bytes(8, &opset)].concat()
}

fn raw(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn varint(field: u64, value: u64) -> Vec<u8> {
    [raw(field << 3), raw(value)].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [raw(field << 3 | 2), raw(content.len() as u64), content.to_vec()].concat()
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|a| bytes(5, a)).collect();
    let parts = [
        inputs,
        bytes(2, output.as_bytes()),
        bytes(3, op.as_bytes()),
        bytes(4, op.as_bytes()),
        attributes,
    ];
    parts.concat()
}

/// An attribute of whole numbers; 7 is its type.
fn ints(name: &str, values: &[u64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|v| varint(8, *v)).collect();
    [bytes(1, name.as_bytes()), values, varint(20, 7)].concat()
}

/// 32-bit floats; 1 is their type.
fn tensor(name: &str, shape: &[u64], values: &[f32]) -> Vec<u8> {
    let shape: Vec<u8> = shape.iter().flat_map(|v| varint(1, *v)).collect();
    let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    [shape, varint(2, 1), bytes(8, name.as_bytes()), bytes(9, &values)].concat()
}

fn value(name: &str, shape: &[u64]) -> Vec<u8> {
    let sides: Vec<u8> = shape.iter().flat_map(|v| bytes(1, &varint(1, *v))).collect();
    let tensor = [varint(1, 1), bytes(2, &sides)].concat();
    [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &tensor))].concat()
}
