import type { Module } from './lists.ts'

/** Forge's preprocessors by rank, with the control types that offer them. Within a rank the last name comes first. */
const ranks: ReadonlyArray<Readonly<Record<string, readonly string[]>>> = [
  {
    canny: ['Canny'],
    depth_marigold: ['Depth'],
    depth_midas: ['Depth'],
    'lineart_standard (from white bg & black line)': ['Lineart'],
    mlsd: ['MLSD'],
    normalbae: ['NormalMap'],
    openpose_full: ['OpenPose'],
    reference_only: ['Reference'],
    scribble_pidinet: ['Scribble', 'Sketch'],
    seg_ofade20k: ['Segmentation'],
    shuffle: ['Shuffle'],
    softedge_pidinet: ['SoftEdge']
  },
  {
    'CLIP-ViT-H (IPAdapter)': ['IP-Adapter'],
    'CLIP-ViT-bigG (IPAdapter)': ['IP-Adapter'],
    'InsightFace+CLIP-H (IPAdapter)': ['IP-Adapter'],
    'invert (from white bg & black line)': ['Canny', 'Lineart', 'Scribble', 'Sketch', 'MLSD']
  },
  { 'InsightFace (InstantID)': ['Instant-ID'] },
  { 'CLIP-G (Revision)': ['Revision'], 'CLIP-G (Revision ignore prompt)': ['Revision'] },
  {
    blur_gaussian: ['Tile', 'Blur'],
    depth_anything_v2: ['Depth'],
    depth_leres: ['Depth'],
    depth_zoe: ['Depth'],
    dw_openpose_full: ['OpenPose'],
    inpaint_global_harmonious: ['Inpaint'],
    inpaint_only: ['Inpaint'],
    'inpaint_only+lama': ['Inpaint'],
    instant_id_face_keypoints: ['Instant-ID'],
    lineart_anime: ['Lineart'],
    lineart_coarse: ['Lineart'],
    lineart_realistic: ['Lineart'],
    normal_midas: ['NormalMap'],
    openpose: ['OpenPose'],
    openpose_hand: ['OpenPose'],
    recolor_intensity: ['Recolor'],
    recolor_luminance: ['Recolor'],
    reference_adain: ['Reference'],
    'reference_adain+attn': ['Reference'],
    scribble_hed: ['Scribble', 'Sketch'],
    scribble_xdog: ['Scribble', 'Sketch'],
    seg_ufade20k: ['Segmentation'],
    softedge_hed: ['SoftEdge'],
    t2ia_color_grid: ['T2I-Adapter'],
    t2ia_sketch_pidi: ['T2I-Adapter'],
    threshold: [],
    tile_colorfix: ['Tile'],
    'tile_colorfix+sharp': ['Tile'],
    tile_resample: ['Tile']
  }
]

function byName ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? 1 : -1
}

/** In the order in which Forge lists them; None comes first. */
export const forgeModules: readonly Module[] = [
  ['None', []] as const, ...ranks.flatMap(rank => Object.entries(rank).sort(byName))
].map(([name, types]) => ({
  name,
  label: name,
  modelFree: name.startsWith('reference'),
  makesMap: !/CLIP|InsightFace/.test(name),
  needsMask: name.startsWith('inpaint'),
  sliders: [],
  types
}))
