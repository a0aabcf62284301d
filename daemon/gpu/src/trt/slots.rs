//! Where TensorRT's virtual methods lie: the number of each in the virtual table of its class, by major version.
//!
//! TensorRT's objects are `{vptr, mImpl}`; their inline methods call the virtual method of the same name on `mImpl`,
//! whose class is `apiv::VNAME`. The numbers come from compiling pointers to members against NVIDIA's headers
//! (`abi/check.py`, which reads this file; `abi/README.md` says against which). They are constant within a major
//! version. `IParser` has no `mImpl`: its numbers are of the object itself.

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// TensorRT 8.5 and 8.6.
    V8,
    /// TensorRT 10.
    V10,
    /// TensorRT 11.
    V11,
    /// TensorRT-RTX 1: as 11, with compute capabilities to choose.
    Rtx,
}

/// In place of a number: this version has no such method.
pub(crate) const NONE: usize = usize::MAX;

macro_rules! slots {
    ($($(#[$doc:meta])* $field:ident: $class:ident::$method:ident = $v8:tt $v10:tt $v11:tt $rtx:tt;)*) => {
        /// A number for each method that is called.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) struct Slots {
            $($(#[$doc])* pub(crate) $field: usize,)*
        }

        impl Slots {
            /// Those of a version.
            pub(crate) const fn of(table: Table) -> Slots {
                match table {
                    Table::V8 => Slots { $($field: $v8,)* },
                    Table::V10 => Slots { $($field: $v10,)* },
                    Table::V11 => Slots { $($field: $v11,)* },
                    Table::Rtx => Slots { $($field: $rtx,)* },
                }
            }
        }
    };
}

// One line a method, for abi/check.py.
slots! {
    //                    class::method                                8    10   11  RTX
    memory_data:          VHostMemory::data =                          2    2    2    2;
    memory_size:          VHostMemory::size =                          3    3    3    3;
    deserialize:          VRuntime::deserializeCudaEngine =            2    3    3    3;
    create_context:       VCudaEngine::createExecutionContext =        11   5    5    5;
    engine_shape:         VCudaEngine::getTensorShape =                34   19   15   15;
    engine_type:          VCudaEngine::getTensorDataType =             35   20   16   16;
    engine_mode:          VCudaEngine::getTensorIOMode =               38   23   19   19;
    engine_tensors:       VCudaEngine::getNbIOTensors =                45   30   26   26;
    engine_name:          VCudaEngine::getIOTensorName =               46   31   27   27;
    engine_profiles:      VCudaEngine::getNbOptimizationProfiles =     22   10   8    8;
    engine_profile_shape: VCudaEngine::getProfileShape =               44   29   25   25;
    set_input_shape:      VExecutionContext::setInputShape =           29   21   20   20;
    context_shape:        VExecutionContext::getTensorShape =          30   22   21   21;
    set_address:          VExecutionContext::setTensorAddress =        32   24   23   23;
    enqueue:              VExecutionContext::enqueueV3 =               44   37   36   36;
    create_network:       VBuilder::createNetworkV2 =                  11   8    6    6;
    create_config:        VBuilder::createBuilderConfig =              9    7    5    5;
    create_profile:       VBuilder::createOptimizationProfile =        12   9    7    7;
    build:                VBuilder::buildSerializedNetwork =           17   14   11   11;
    set_flag:             VBuilderConfig::setFlag =                    15   11   9    9;
    add_profile:          VBuilderConfig::addOptimizationProfile =     29   25   23   23;
    set_memory:           VBuilderConfig::setMemoryPoolLimit =         47   43   32   32;
    set_capabilities:     VBuilderConfig::setNbComputeCapabilities =   NONE NONE NONE 55;
    set_capability:       VBuilderConfig::setComputeCapability =       NONE NONE NONE 57;
    network_inputs:       VNetworkDefinition::getNbInputs =            19   14   14   14;
    network_input:        VNetworkDefinition::getInput =               20   15   15   15;
    network_layers:       VNetworkDefinition::getNbLayers =            17   12   12   12;
    tensor_name:          VTensor::getName =                           3    3    3    3;
    tensor_shape:         VTensor::getDimensions =                     5    5    5    5;
    profile_shape:        VOptimizationProfile::setDimensions =        2    2    2    2;
    parse:                IParser::parse =                             0    0    0    0;
    parser_errors:        IParser::getNbErrors =                       6    5    3    3;
    parser_error:         IParser::getError =                          7    6    4    4;
    error_text:           IParserError::desc =                         1    1    1    1;
}
