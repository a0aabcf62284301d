//! Why there is no calibration, and what to do about it.

use std::fmt;

use synoptic_base::StreamId;

/// How much two cameras have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// The cameras.
    pub cameras: [StreamId; 2],
    /// Places that look alike.
    pub matches: usize,
    /// Those that agree on one rotation.
    pub agree: usize,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.cameras;
        write!(f, "{a} and {b}: {} of {} matches agree", self.agree, self.matches)
    }
}

/// Why the pictures give no calibration. Nothing is guessed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Too few or too many cameras.
    #[error("a panorama has 2 to 8 cameras, not {0}")]
    Cameras(usize),
    /// Two pictures of one camera.
    #[error("camera {0} is given twice")]
    Twice(StreamId),
    /// A picture too small or too large to work on.
    #[error("camera {camera} has pictures of {width}x{height}: give 64x64 to 8192x8192")]
    Size {
        /// Which.
        camera: StreamId,
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
    },
    /// A control point names a camera that is not there, or a place outside of its picture.
    #[error("control point {index} {what}")]
    ControlPoint {
        /// Its number, from 0.
        index: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A camera shows too little to hold on to.
    #[error(
        "camera {camera} shows too little texture that stays in place: {found} features, {need} are needed; \
         wait for better light or fewer people, turn it to something with edges, or set 4 control points by hand"
    )]
    Texture {
        /// Which.
        camera: StreamId,
        /// Features found.
        found: usize,
        /// Features needed.
        need: usize,
    },
    /// Cameras do not see the same.
    #[error("the cameras do not connect: {}; {}; give them more overlap (a quarter of the picture is good), or set 4 control points by hand", name_groups(.groups), name_evidence(.evidence))]
    Apart {
        /// Cameras that connect with each other, the groups apart.
        groups: Vec<Vec<StreamId>>,
        /// Between the groups.
        evidence: Vec<Evidence>,
    },
    /// The adjustment found no place to stand.
    #[error(
        "no position of the cameras explains what they have in common; is one of them mirrored, or does it move?"
    )]
    Unsolved,
    /// What the cameras share does not fit one rotation each.
    #[error(
        "between {} and {} places miss each other by {miss:.1} px where {limit:.1} px are allowed; the cameras stand too \
         far apart for what they see near, one of them moved, or its lens is of another kind", .cameras[0], .cameras[1]
    )]
    Misfit {
        /// The worst two.
        cameras: [StreamId; 2],
        /// Root mean square, pixels.
        miss: f64,
        /// What is allowed, pixels.
        limit: f64,
    },
    /// The pictures leave a camera loose.
    #[error(
        "camera {camera} is not determined: its corners are known to ±{sd:.1} px only, {limit:.1} px are needed; what it \
         shares with others is too little or too much in one place; give it more overlap or texture there, or set \
         control points by hand"
    )]
    Undetermined {
        /// Which.
        camera: StreamId,
        /// Standard deviation of its least sure corner, pixels.
        sd: f64,
        /// What is needed, pixels.
        limit: f64,
    },
    /// The view is too wide or too steep for the projection asked for.
    #[error("this view does not fit the projection {0}: choose cylindrical or spherical")]
    Projection(&'static str),
    /// Feature detection failed.
    #[error("looking for features in camera {camera}: {why}")]
    Features {
        /// Which.
        camera: StreamId,
        /// What the detector said.
        why: String,
    },
}

fn name_groups(groups: &[Vec<StreamId>]) -> String {
    let texts: Vec<String> = groups
        .iter()
        .map(|g| g.iter().map(StreamId::as_str).collect::<Vec<_>>().join("+"))
        .collect();
    texts.join(" | ")
}

fn name_evidence(evidence: &[Evidence]) -> String {
    let texts: Vec<String> = evidence.iter().map(Evidence::to_string).collect();
    texts.join(", ")
}
