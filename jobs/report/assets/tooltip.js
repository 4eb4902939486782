"use strict";

// Definitions beside the element under the pointer or in focus. Screen readers read them from the attribute aria-description.
const tooltip = document.getElementById("tooltip");
const TOOLTIP_MARGIN_PX = 8;
let tooltipOwner = null;

function showTooltipOf(owner) {
  tooltipOwner = owner;
  tooltip.hidden = tooltipOwner === null;
  tooltip.textContent = tooltipOwner?.getAttribute("aria-description") ?? "";
  placeTooltip();
}

/** Moves the tooltip below its owner, or above it where there is more space. */
function placeTooltip() {
  if (tooltipOwner === null) return;
  const box = tooltipOwner.getBoundingClientRect(), { clientWidth, clientHeight } = document.documentElement;
  const left = Math.min(box.left, clientWidth - tooltip.offsetWidth - TOOLTIP_MARGIN_PX);
  const isAbove = box.bottom + tooltip.offsetHeight > clientHeight;
  tooltip.style.left = `${Math.max(TOOLTIP_MARGIN_PX, left)}px`;
  tooltip.style.top = `${isAbove ? box.top - tooltip.offsetHeight : box.bottom}px`;
}

function showPointedTooltip({ target }) {
  if (tooltip.contains(target)) return; // so that its text can be selected
  const owner = target.closest("[aria-description]");
  // The page may scroll under the pointer when the focus moves.
  if (owner || !tooltipOwner?.matches(":focus-visible")) showTooltipOf(owner);
}

document.addEventListener("pointerover", showPointedTooltip);
document.addEventListener("focusin", ({ target }) => showTooltipOf(target.closest("[aria-description]")));
document.addEventListener("focusout", () => showTooltipOf(null));
document.addEventListener("scroll", placeTooltip, { capture: true, passive: true }); // focus may scroll
document.addEventListener("keydown", (event) => { if (event.key === "Escape") showTooltipOf(null); });
