#!/bin/sh
# ResNet-18 with twice the channels, half of them taken away by slimming, against ResNet-18 itself, both from scratch.
#
#   DATA=folder:cifar10-jpeg sh studies/resnet18x2/run.sh [OUT]
#
# DATA, SIZE, IMAGES, RECIPE, EPOCHS, SEEDS and THREADS are read from the environment. Stopped at any moment, the same
# command goes on: each step that has begun is resumed.
set -eu
out=${1:-resnet18x2}
data="--data ${DATA:-cifar10}"
images="--image-size ${SIZE:-32} ${IMAGES:+--max-images $IMAGES}"
machine="${THREADS:+--threads $THREADS}"
recipe="--recipe ${RECIPE:-fast} --epochs ${EPOCHS:-30}"
space="--space torchvision:resnet18"
mkdir -p "$out"

step() { # step COMMAND DIRECTORY ARGUMENTS...
    command=$1 run=$2
    shift 2
    if [ -e "$run/config.yaml" ]; then
        nas-prune "$command" --resume "$run"
    else
        nas-prune "$command" --out "$run" "$@"
    fi
}

# Half of all channels, residual streams too, by one global threshold; the same number as ResNet-18 has.
step search "$out/double" $space --width-multiplier 2 --method slimming --groups all --budget 'channels<=50%' \
    $data $images $recipe $machine
# No search here: it writes the widths of ResNet-18 as it is, which are those of the doubled network halved uniformly.
step search "$out/single" $space --method uniform --budget 'macs<=100%' $data $images $machine

for name in double/widths/channels-50pct single/widths/whole; do
    step train "$out/train-$(dirname "$(dirname "$name")")" --widths "$out/$name.json" --schedule scratch-e \
        --seeds "${SEEDS:-3}" $data $recipe ${IMAGES:+--max-images $IMAGES} $machine
done
