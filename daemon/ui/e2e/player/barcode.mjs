// The barcode of daemon/sim/src/barcode.rs, written and read in JavaScript: two rows of 48 blocks, guards of two at each
// end, 64 bits of number, 8 of camera, CRC-16/IBM-3740. Runs in Node and, by its text, in the page.

export const COLUMNS = 48;
export const ROWS = 2;
/** The part of the picture that the code covers. */
export const REGION = { width: 0.6, height: 16 / 360 };
const BITS = COLUMNS - 4;

function crc16(bytes) {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let i = 0; i < 8; i += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

/** Rows of booleans (white) for a number and a camera. */
export function blocks(number, camera) {
  const bytes = new Uint8Array(11);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(number));
  bytes[8] = camera;
  view.setUint16(9, crc16(bytes.subarray(0, 9)));
  return [0, 1].map((row) => {
    const guards = [false, true, true, false].map((v) => v !== (row === 1));
    const line = new Array(COLUMNS);
    [line[0], line[1], line[COLUMNS - 2], line[COLUMNS - 1]] = guards;
    for (let i = 0; i < BITS; i += 1) {
      const bit = row * BITS + i;
      line[2 + i] = ((bytes[bit >> 3] >> (7 - (bit % 8))) & 1) === 1;
    }
    return line;
  });
}

/** Left, top, right, bottom of a block in a picture of this size. */
export function place(column, row, width, height) {
  const x = (i) => Math.round((i * REGION.width * width) / COLUMNS);
  const y = (i) => Math.round((i * REGION.height * height) / ROWS);
  return [x(column), y(row), x(column + 1), y(row + 1)];
}

/**
 * Reads a code. `luma(x, y)`: brightness of a pixel of the picture, whose size is `width` x `height`. Null when there is
 * none or it is damaged.
 */
export function read(luma, width, height) {
  const means = [0, 1].map((row) =>
    Array.from({ length: COLUMNS }, (_, column) => {
      const [x0, y0, x1, y1] = place(column, row, width, height);
      const [dx, dy] = [(x1 - x0) >> 2, (y1 - y0) >> 2];
      let [sum, count] = [0, 0];
      for (let y = y0 + dy; y < y1 - dy; y += 1) {
        for (let x = x0 + dx; x < x1 - dx; x += 1) {
          sum += luma(x, y);
          count += 1;
        }
      }
      return sum / count;
    }),
  );
  const ends = [0, 1, COLUMNS - 2, COLUMNS - 1];
  const guard = (row, i) => [false, true, true, false][i] !== (row === 1);
  let [black, white] = [0, 0];
  for (const row of [0, 1]) {
    ends.forEach((column, i) => {
      if (guard(row, i)) white += means[row][column] / 4;
      else black += means[row][column] / 4;
    });
  }
  if (!(white >= black + 60)) return null;
  const middle = (black + white) / 2;
  const bytes = new Uint8Array(11);
  for (const row of [0, 1]) {
    if (ends.some((column, i) => means[row][column] > middle !== guard(row, i))) return null;
    for (let i = 0; i < BITS; i += 1) {
      const bit = row * BITS + i;
      if (means[row][2 + i] > middle) bytes[bit >> 3] |= 1 << (7 - (bit % 8));
    }
  }
  const view = new DataView(bytes.buffer);
  if (view.getUint16(9) !== crc16(bytes.subarray(0, 9))) return null;
  return { number: Number(view.getBigInt64(0)), camera: bytes[8] };
}
