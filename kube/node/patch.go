package node

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// patch writes the difference between two states of the Node's status, labels and annotations. (component-helpers has the
// same, but without a context: a hanging API server would hold up the end of the daemon.)
func (c *Controller) patch(ctx context.Context, old, next *corev1.Node) (*corev1.Node, error) {
	data, err := patchBytes(old, next)
	if err != nil {
		return nil, fmt.Errorf("make the patch of the node's status: %w", err)
	}
	written, err := c.config.Client.CoreV1().Nodes().Patch(ctx, c.config.NodeName, types.StrategicMergePatchType, data,
		metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch node status: %w", err)
	}
	return written, nil
}

func patchBytes(old, next *corev1.Node) ([]byte, error) {
	next = next.DeepCopy()
	next.Spec = old.Spec
	// The API calls addresses a list to be merged by type, which two addresses of one type defeat: they are replaced whole.
	addresses := next.Status.Addresses
	replace := len(old.Status.Addresses) > 0 && !apiequality.Semantic.DeepEqual(old.Status.Addresses, addresses)
	if replace {
		next.Status.Addresses = old.Status.Addresses
	}
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	data, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Node{})
	if err != nil || !replace {
		return data, err
	}
	var patch map[string]any
	if err := json.Unmarshal(data, &patch); err != nil {
		return nil, err
	}
	status, _ := patch["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	list := make([]any, 0, len(addresses)+1)
	for _, a := range addresses {
		list = append(list, a)
	}
	status["addresses"] = append(list, map[string]string{"$patch": "replace"})
	patch["status"] = status
	return json.Marshal(patch)
}
