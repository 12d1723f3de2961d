#!/bin/sh
# Make models/default from the zips and the ImageNet weights in DATA; the work goes to RUNS. Run it again to go on after
# a stop. ATTRIBUTES is a csv for facetell evaluate --attributes.
# usage: docs/default-model.sh DATA RUNS [ATTRIBUTES]
set -eu
[ -d models ] || { echo "run this in the root of the repository" >&2; exit 2; }
data=$1 runs=$2

# Status 3 says that some pictures could not be read, which merge lists, or that a float16 or int8 file was left out.
finished() { "$@" || [ $? -eq 3 ]; }

mkdir -p "$runs" docs/evaluation
if [ ! -d "$runs/wild_faces" ]; then
    unzip -qo "$data/wild_faces.zip" -d "$runs/wild_faces.partial"
    mv "$runs/wild_faces.partial" "$runs/wild_faces"
fi
finished facetell merge "$data/dfdc_faces.zip" "$data/kaggle_faces.zip" "$data/diffusion_faces.zip" \
    "$data/lfw_faces.zip" "$data/ciplab_faces.zip" "$runs"/wild_faces/*/ -o "$runs/dataset"
facetell crop "$runs/dataset" -o "$runs/run/crops"
facetell split "$runs/run/crops" --reserve headshots_datatalks --reserve webcam_misc --reserve sports_press \
    --reserve fakerjs_sd3 --reserve leafac
facetell train "$runs/run/crops" -o "$runs/first" --weights "$data/mobilenet_v3_small_imagenet_notop.weights.h5" \
    --epochs 12
facetell train "$runs/run/crops" -o "$runs/run" --weights "$runs/first/model.keras" --epochs 12 \
    --learning-rate 5e-4 --seed 1
for split in reserved test validation; do
    facetell evaluate "$runs/run" --split $split ${3:+--attributes "$3"}
    cp "$runs/run/evaluation-$split/report.md" docs/evaluation/$split.md
done
rm -rf "$runs/bundle"
finished facetell export "$runs/run" -o "$runs/bundle" --name facetell-default \
    --license "research, not for commercial use" --data-notes docs/default-model-data.md \
    --sources docs/default-model-sources.csv
rm -rf models/default
cp -r "$runs/bundle" models/default
