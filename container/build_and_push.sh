#!/usr/bin/env bash
# Build the image and push it to Amazon ECR, where SageMaker takes it from. Prints its name, last.
# Usage: build_and_push.sh REPOSITORY [TAG]    needs docker, and the aws command with credentials and a region
# TORCH_INDEX, where it is set, is handed to the build: see the Dockerfile.
set -euo pipefail
repository=${1:?"usage: $0 REPOSITORY [TAG]"}
tag=${2:-latest}
top=$(cd "$(dirname "$0")/.." && pwd)
for tool in aws docker; do
  command -v "$tool" >/dev/null || { echo "$0: the command $tool is needed; install it" >&2; exit 1; }
done

account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
[ -n "$region" ] || { echo "$0: no AWS region: set AWS_REGION, or one with 'aws configure'" >&2; exit 1; }
case $region in
  cn-*) domain=amazonaws.com.cn ;;
  *) domain=amazonaws.com ;;
esac
registry=$account.dkr.ecr.$region.$domain
name=$registry/$repository:$tag

aws ecr describe-repositories --region "$region" --repository-names "$repository" >/dev/null 2>&1 \
  || aws ecr create-repository --region "$region" --repository-name "$repository" >/dev/null
aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" >&2

# SageMaker runs x86-64, which this machine may not be, and refuses the index of attestations that newer builders add.
export DOCKER_DEFAULT_PLATFORM=linux/amd64 BUILDX_NO_DEFAULT_ATTESTATIONS=1
docker build ${TORCH_INDEX+--build-arg "TORCH_INDEX=$TORCH_INDEX"} --tag "$name" "$top" >&2
docker push "$name" >&2
echo "$name"
